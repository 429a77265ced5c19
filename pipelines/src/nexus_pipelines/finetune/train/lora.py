"""LoRA layers on a frozen model: y = W x + (alpha / r) B A dropout(x), in PEFT's names.

The adapter's numbers lie in one flat float32 vector, and their gradients in another: the
optimiser, the clipping and a checkpoint each work on one vector.  The products run in the base's
number format; its weights may be kept in another (`quantized`).
Definition: Hu et al. 2021, https://arxiv.org/abs/2106.09685.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nexus_pipelines.finetune.train.dropout import Dropout
from nexus_pipelines.finetune.train.errors import BaseUnusable
from nexus_pipelines.finetune.train.quantized import matrix

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
TARGETS: Mapping[str, tuple[str, ...]] = {"attention": ATTENTION, "all": ATTENTION + MLP}
_PREFIX = "base_model.model."  # PEFT's, before the names of the model's own modules


class _Product(torch.autograd.Function):  # type: ignore[misc]
    """The layer and its gradient; the base's weight is frozen and gets none."""

    @staticmethod
    def forward(
        ctx: Any, x: Any, mask: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float
    ) -> Any:
        """x: [tokens, in]; weight: gives [out, in]; a: float32 [r, in]; b: float32 [out, r]."""
        down, up = a.to(x.dtype), (b * scale).to(x.dtype)
        inner = (x if mask is None else x * mask) @ down.T
        y = nn.functional.linear(x, weight(x.dtype), bias)
        y.addmm_(inner, up.T)
        ctx.save_for_backward(x, mask, down, up, inner)
        ctx.scale, ctx.weight = scale, weight
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        """grad: [tokens, out]."""
        x, mask, down, up, inner = ctx.saved_tensors
        of_inner = grad @ up
        of_b = (grad.T @ inner).float().mul_(ctx.scale)
        of_a = (of_inner.T @ (x if mask is None else x * mask)).float()
        of_x = None
        if ctx.needs_input_grad[0]:
            of_x = grad @ ctx.weight(grad.dtype)
            if mask is None:
                of_x.addmm_(of_inner, down)
            else:
                of_x.addcmul_(of_inner @ down, mask)
        return of_x, None, None, None, of_a, of_b, None


class LoraLinear(nn.Module):  # type: ignore[misc]
    """A frozen linear layer with an adapter; in the place of the layer that it wraps."""

    def __init__(self, base: nn.Linear, a: Any, b: Any, scale: float, dropout: Dropout) -> None:
        super().__init__()
        self.base = base
        self.a, self.b = a, b
        self._weight = matrix(base)
        self._scale = scale
        self._dropout = dropout

    def forward(self, x: Any) -> Any:
        """x: [..., in]; returns [..., out]."""
        mask = self._dropout.mask(x)
        flat = x.reshape(-1, x.shape[-1])
        mask = None if mask is None else mask.view(flat.shape)
        y = _Product.apply(flat, mask, self._weight, self.base.bias, self.a, self.b, self._scale)
        return y.view(*x.shape[:-1], y.shape[-1])


class Adapter:
    """The adapter of a model: `weights` and `gradients` are flat float32 vectors of one length."""

    def __init__(self, model: Any, *, r: int, alpha: int, dropout: float, target: str) -> None:
        """Put an adapter on every layer of the target; freezes the model.

        Raises:
            BaseUnusable: the model has no layer of these names.
        """
        self.r, self.alpha, self.target, self._share = r, alpha, target, dropout
        where = next(model.parameters()).device
        self.dropout = Dropout(dropout, where.type)
        for parameter in model.parameters():
            parameter.requires_grad_(requires_grad=False)
        layers = _targets(model, target)
        size = sum(r * (layer.in_features + layer.out_features) for layer in layers.values())
        self.weights = torch.zeros(size, dtype=torch.float32, device=where)
        self.gradients = torch.zeros_like(self.weights)
        self._views: dict[str, Any] = {}
        at = 0
        for name, layer in layers.items():
            a, at = self._view(f"{name}.lora_A.weight", at, r, layer.in_features)
            b, at = self._view(f"{name}.lora_B.weight", at, layer.out_features, r)
            _replace(model, name, LoraLinear(layer, a, b, alpha / r, self.dropout))

    def start(self, seed: int) -> None:
        """Set the weights that training starts from, PEFT's: A uniform, B zero."""
        numbers = torch.Generator().manual_seed(seed)
        for name, view in self._views.items():
            fresh = torch.zeros(view.shape)
            if ".lora_A." in name:
                nn.init.kaiming_uniform_(fresh, a=math.sqrt(5), generator=numbers)
            view.data.copy_(fresh)

    def named(self, weights: Any) -> dict[str, Any]:
        """Name the parts of a flat vector as PEFT does; each shares the vector's memory."""
        found, at = {}, 0
        for name, view in self._views.items():
            found[f"{_PREFIX}{name}"] = weights[at : at + view.numel()].view(view.shape)
            at += view.numel()
        return found

    def save(self, weights: Any, folder: Path, *, base: str, revision: str) -> None:
        """Write a flat vector as PEFT's two files."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "base_model_name_or_path": base,
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            "init_lora_weights": True,
            "lora_alpha": self.alpha,
            "lora_dropout": self._share,
            "modules_to_save": None,
            "peft_type": "LORA",
            "r": self.r,
            "revision": revision or None,
            "target_modules": sorted({name.split(".")[-3] for name in self._views}),
            "task_type": "CAUSAL_LM",
            "use_dora": False,
            "use_rslora": False,
        }
        tensors = {name: part.cpu().clone() for name, part in self.named(weights).items()}
        save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
        text = json.dumps(config, indent=1, sort_keys=True)
        (folder / "adapter_config.json").write_text(f"{text}\n", encoding="utf-8")

    def _view(self, name: str, at: int, rows: int, columns: int) -> tuple[Any, int]:
        end = at + rows * columns
        view = nn.Parameter(self.weights[at:end].view(rows, columns))
        view.grad = self.gradients[at:end].view(rows, columns)
        self._views[name] = view
        return view, end


def _targets(model: Any, target: str) -> dict[str, nn.Linear]:
    wanted = TARGETS[target]
    layers = {
        name: module
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in wanted and isinstance(module, nn.Linear)
    }
    missing = sorted(set(wanted) - {name.rpartition(".")[2] for name in layers})
    if missing:
        raise BaseUnusable(
            f"the base model ({type(model).__name__}) has no linear layers named "
            f"{', '.join(missing)}; only models with LLaMA's layer names can be tuned"
        )
    return layers


def _replace(model: Any, name: str, layer: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)
