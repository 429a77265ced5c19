"""An ONNX graph for a BERT encoder whose weights stay in the safetensors file.

The graph holds no weights: each initializer names the file, offset and length of a tensor, which
ONNX Runtime maps into memory.  Linear layers are Gemm with transB, because safetensors keeps
their weights as [out, in].  Activations are [batch * length, hidden] except in attention, which is
ONNX Runtime's own MultiHeadAttention: a sixth more tokens a second than the same in plain ONNX.
"""

from collections.abc import Mapping
from typing import Any

from nexus_embedder.errors import UnsupportedModel
from nexus_embedder.model import Architecture
from nexus_embedder.tensors import Tensor

OPSET = 20
GRAPH_VERSION = 1
"""Part of the name under which a graph is cached: raise it when the graph changes."""

_PREFIXES = ("", "bert.", "roberta.", "model.")
_TYPES = {"F32": "FLOAT", "F16": "FLOAT16", "BF16": "BFLOAT16"}


def build_graph(architecture: Architecture, tensors: Mapping[str, Tensor]) -> bytes:
    """Assemble the encoder: ids int64 [b, s], mask int32 [b, s] -> hidden float32 [b, s, h].

    `mask` is 1 for a token and 0 for padding.  Raises UnsupportedModel when a tensor is missing.
    """
    builder = _Builder(architecture, tensors)
    x = builder.embeddings()
    for layer in range(architecture.layers):
        x = builder.layer(f"encoder.layer.{layer}", x)
    return builder.finish(x)


class _Builder:
    """Collects nodes and initializers; methods return the names of the values they make."""

    def __init__(self, architecture: Architecture, tensors: Mapping[str, Tensor]) -> None:
        import onnx

        self._onnx = onnx
        self._architecture = architecture
        self._tensors = tensors
        self._prefix = next(
            (p for p in _PREFIXES if f"{p}embeddings.word_embeddings.weight" in tensors), ""
        )
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._shape = self._op("Shape", "ids")
        self._rows = self._op("Concat", self._shape, self._ints(architecture.hidden), axis=0)

    def embeddings(self) -> str:
        """Sum of word, position and type rows, normalised: [b * s, h]."""
        words = self._op("Gather", self._weight("embeddings.word_embeddings.weight"), "ids")
        first = self._ints(self._architecture.position_offset)
        length = self._op("Slice", self._shape, self._ints(1), self._ints(2))
        positions = self._op(
            "Slice",
            self._weight("embeddings.position_embeddings.weight"),
            first,
            self._op("Add", length, first),
        )
        kinds = self._weight("embeddings.token_type_embeddings.weight")
        kind = self._op("Slice", kinds, self._ints(0), self._ints(1))
        total = self._op("Add", words, self._op("Add", positions, kind))
        flat = self._op("Reshape", total, self._ints(-1, self._architecture.hidden))
        return self._norm("embeddings.LayerNorm", flat)

    def layer(self, name: str, x: str) -> str:
        """One transformer block over [b * s, h]."""
        attended = self._attention(f"{name}.attention.self", x)
        projected = self._linear(f"{name}.attention.output.dense", attended)
        x = self._norm(f"{name}.attention.output.LayerNorm", self._op("Add", projected, x))
        wide = self._linear(f"{name}.intermediate.dense", x)
        active = self._op("Gelu", wide, approximate=self._architecture.gelu)
        narrow = self._linear(f"{name}.output.dense", active)
        return self._norm(f"{name}.output.LayerNorm", self._op("Add", narrow, x))

    def finish(self, x: str) -> bytes:
        """Shape the output as [b, s, h], and serialise."""
        helper, kinds = self._onnx.helper, self._onnx.TensorProto
        self._nodes.append(helper.make_node("Reshape", [x, self._rows], ["hidden"]))
        graph = helper.make_graph(
            self._nodes,
            "encoder",
            [
                helper.make_tensor_value_info("ids", kinds.INT64, ["b", "s"]),
                helper.make_tensor_value_info("mask", kinds.INT32, ["b", "s"]),
            ],
            [
                helper.make_tensor_value_info(
                    "hidden", kinds.FLOAT, ["b", "s", self._architecture.hidden]
                )
            ],
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)],
            ir_version=9,
        )
        return bytes(model.SerializeToString())

    def _attention(self, name: str, x: str) -> str:
        """Attention among the tokens of each text, by ONNX Runtime's fused operator."""
        parts = ("query", "key", "value")
        projected = [
            self._op("Reshape", self._linear(f"{name}.{part}", x), self._rows) for part in parts
        ]
        mixed = self._op(
            "MultiHeadAttention",
            *projected,
            "",  # no bias: the linear layers have added it
            "mask",
            domain="com.microsoft",
            num_heads=self._architecture.heads,
        )
        return self._op("Reshape", mixed, self._ints(-1, self._architecture.hidden))

    def _linear(self, name: str, x: str) -> str:
        weight, bias = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._op("Gemm", x, weight, bias, transB=1)

    def _norm(self, name: str, x: str) -> str:
        weight, bias = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._op(
            "LayerNormalization", x, weight, bias, axis=-1, epsilon=self._architecture.norm_epsilon
        )

    def _weight(self, name: str) -> str:
        """Name a tensor of the file as an initializer; other types are cast to float32."""
        tensor = self._tensors.get(self._prefix + name)
        if tensor is None:
            raise UnsupportedModel(f"the model has no tensor {self._prefix + name}")
        if tensor.dtype not in _TYPES:
            raise UnsupportedModel(f"tensor {tensor.name} is {tensor.dtype}, which is not served")
        if name not in self._constants:
            self._constants[name] = _external(name, tensor)
        if tensor.dtype == "F32":
            return name
        return self._op("Cast", name, to=self._onnx.TensorProto.FLOAT)

    def _ints(self, *values: int) -> str:
        name = "ints_" + "_".join(map(str, values))
        if name not in self._constants:
            self._constants[name] = self._onnx.helper.make_tensor(
                name, self._onnx.TensorProto.INT64, [len(values)], values
            )
        return name

    def _op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"v{len(self._nodes)}"
        node = self._onnx.helper.make_node(kind, inputs, [output], **attributes)
        self._nodes.append(node)
        return output


def _external(name: str, tensor: Tensor) -> Any:
    """Describe a tensor by its place in the file, with none of its bytes."""
    import onnx

    proto = onnx.TensorProto(
        data_type=getattr(onnx.TensorProto, _TYPES[tensor.dtype]),
        dims=tensor.shape,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    proto.name = name
    place = {"location": tensor.file.name, "offset": tensor.offset, "length": tensor.length}
    for key, value in place.items():
        proto.external_data.add(key=key, value=str(value))
    return proto
