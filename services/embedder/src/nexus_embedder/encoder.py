"""Token ids to vectors, by ONNX Runtime."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nexus_embedder.errors import UnsupportedModel
from nexus_embedder.graph import GRAPH_VERSION, build_graph
from nexus_embedder.model import Architecture, Pooling, read_architecture
from nexus_embedder.tensors import tensors_in
from nexus_embedder.tokens import Ids
from nexus_models import Cache, ModelFiles, ModelFormat

if TYPE_CHECKING:
    import onnxruntime

Vectors = npt.NDArray[np.float32]

_FOLDER = "session.model_external_initializers_file_folder_path"


class Encoder:
    """A loaded model.  `embed` may be called from one thread at a time."""

    def __init__(
        self,
        files: ModelFiles,
        *,
        cache: Path,
        threads: int,
        pooling: Pooling | None = None,
        normalize: bool = True,
    ) -> None:
        """Build the graph, or take it from the cache, and map the weights.

        Args:
            files: a BERT-family model in safetensors.
            cache: the model cache, for the graph.
            threads: how many cores one batch may use.
            pooling: None takes what the model's files ask for.
            normalize: scale every vector to unit length.

        Raises:
            UnsupportedModel: the model is of another family or format.
        """
        if files.format is not ModelFormat.SAFETENSORS:
            raise UnsupportedModel(f"{files.dir}: safetensors are needed, not {files.format}")
        self.architecture: Architecture = read_architecture(files.dir)
        self.pooling: Pooling = pooling or self.architecture.pooling
        self.normalize = normalize
        self._session = _session(_graph(files, self.architecture, cache), files.dir, threads)

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self.architecture.hidden

    def embed(self, batch: Sequence[Ids]) -> Vectors:
        """Embed sequences together: float32 [n, dimension].

        The cost is that of n times the longest sequence, so put like lengths together.
        """
        lengths = np.array([len(ids) for ids in batch])
        ids = np.zeros((len(batch), int(lengths.max())), dtype=np.int64)
        for row, sequence in enumerate(batch):
            ids[row, : len(sequence)] = sequence
        mask = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int32)
        (hidden,) = self._session.run(None, {"ids": ids, "mask": mask})
        vectors: Vectors = self._pool(hidden, mask, lengths)
        if self.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    def _pool(
        self, hidden: Vectors, mask: npt.NDArray[np.int32], lengths: npt.NDArray[np.int_]
    ) -> Vectors:
        if self.pooling == "cls":
            return np.ascontiguousarray(hidden[:, 0])
        total = np.matmul(mask[:, None, :].astype(np.float32), hidden)[:, 0]
        return np.asarray(total / lengths[:, None], dtype=np.float32)


def _graph(files: ModelFiles, architecture: Architecture, cache: Path) -> bytes:
    def build(path: Path) -> None:
        path.write_bytes(build_graph(architecture, tensors_in(files.weights)))

    return Cache(cache).derived(files.digest, f"encoder-v{GRAPH_VERSION}.onnx", build).read_bytes()


def _session(graph: bytes, folder: Path, threads: int) -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry(_FOLDER, str(folder))
    # Idle workers must not spin: the runtime and the vector store want the same cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
