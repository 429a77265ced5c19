"""The training loop: steps, held-out losses, checkpoints, and when to stop."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from nexus_pipelines.finetune.train.checkpoint import Checkpoints, Standing
from nexus_pipelines.finetune.train.core import Schedule, Step, cut, epoch_ends, plan
from nexus_pipelines.finetune.train.errors import Interrupted, LossNotFinite
from nexus_pipelines.finetune.train.examples import Example
from nexus_pipelines.finetune.train.model import Tuned
from nexus_pipelines.finetune.train.optimiser import AdamW
from nexus_pipelines.finetune.train.progress import Progress

LONGEST_GRADIENT = 1.0
BUDGET = 2048
"""Tokens that are computed at once; see `make bench-train` for what it does to speed."""


@dataclass(frozen=True)
class Recipe:
    """How to train."""

    batch_size: int
    epochs: int
    rate: float
    seed: int
    hours: float
    kind: Literal["cosine", "linear"] = "cosine"
    warmup: float = 0.03  # share of the steps
    budget: int = BUDGET
    checkpoint_seconds: float = 300.0
    evaluations: int = 4  # held-out losses at least, where there are as many steps
    # The adapter with the lowest held-out loss, or the last one: where the gate decides on the
    # examples that were held out, choosing by them would be tuning by looking at them.
    keep: Literal["best", "last"] = "best"


@dataclass(frozen=True)
class Trained:
    """What came out: the adapter's weights, how the run went, and why it ended."""

    weights: torch.Tensor
    kept: tuple[int, float | None]  # after how many steps these weights were, and their loss
    standing: Standing
    stopped: Literal["epochs", "time"]


class Training:
    """One run of training; `run` goes on from the checkpoint if there is one."""

    def __init__(
        self,
        tuned: Tuned,
        train: Sequence[Example],
        heldout: Sequence[Example],
        recipe: Recipe,
        *,
        checkpoints: Checkpoints | None = None,
        asked_to_end: Callable[[], bool] = lambda: False,
    ) -> None:
        self._tuned, self._train, self._heldout, self._recipe = tuned, train, heldout, recipe
        self._checkpoints = checkpoints
        self._asked_to_end = asked_to_end
        self.steps = plan(
            [len(example.tokens) for example in train],
            batch_size=recipe.batch_size,
            epochs=recipe.epochs,
            budget=recipe.budget,
            seed=recipe.seed,
        )
        self._schedule = Schedule(
            recipe.kind, recipe.rate, round(recipe.warmup * len(self.steps)), len(self.steps)
        )
        self._looks = _looks(self.steps, recipe.evaluations)
        self._optimiser = AdamW(tuned.adapter.weights, tuned.adapter.gradients)
        self._best = torch.zeros_like(tuned.adapter.weights)
        self._standing = Standing()

    def run(self, progress: Progress) -> Trained:
        """Train to the end of the epochs, or of the time.

        Raises:
            LossNotFinite: the loss or its gradient is NaN or infinite.
            Interrupted: it was asked to end; the checkpoint is written.
        """
        standing = self._begin(progress)
        began = saved = time.monotonic()
        earlier, stopped = standing.seconds, False
        progress.begin(standing.steps)
        for here, step in enumerate(self.steps[standing.steps :], start=1):
            started = time.monotonic()
            loss = self._take(step)
            standing.busy += time.monotonic() - started
            standing.steps += 1
            standing.losses.append(loss)
            standing.seconds = earlier + time.monotonic() - began
            stopped = standing.seconds >= self._recipe.hours * 3600
            if step.number in self._looks or stopped:
                self._look()
            progress.tell(
                standing.steps,
                loss=loss,
                here=here,
                seconds=time.monotonic() - began,
                most=max(self._recipe.hours * 3600 - standing.seconds, 0.0),
            )
            if stopped and standing.steps < len(self.steps):
                return self._trained("time")
            ending = self._asked_to_end()
            if ending or time.monotonic() - saved >= self._recipe.checkpoint_seconds:
                self._save()
                saved = time.monotonic()
            if ending:
                raise Interrupted(
                    f"asked to end after step {standing.steps} of {len(self.steps)}; run the step "
                    "again and it goes on from there"
                )
        return self._trained("epochs")

    def heldout_loss(self) -> float:
        """Return the mean loss of a token of the held-out answers; NaN without any."""
        adapter, total, tokens = self._tuned.adapter, 0.0, 0
        adapter.dropout.off()
        order = sorted(range(len(self._heldout)), key=lambda at: len(self._heldout[at].tokens))
        lengths = [len(example.tokens) for example in self._heldout]
        with torch.no_grad():
            for part in cut(order, lengths, self._recipe.budget):
                examples = [self._heldout[at] for at in part]
                total += float(self._tuned.loss(examples))
                tokens += sum(example.learnt for example in examples)
        return total / tokens if tokens else math.nan

    def _begin(self, progress: Progress) -> Standing:
        found = self._checkpoints.load() if self._checkpoints else None
        if found is None:
            self._tuned.adapter.start(self._recipe.seed)
            if self._heldout:
                self._standing.heldout.append((0, self.heldout_loss()))
            return self._standing
        self._standing, vectors = found
        for name, vector in self._vectors().items():
            vector.copy_(vectors[name])
        progress.say(f"going on after step {self._standing.steps} of {len(self.steps)}")
        return self._standing

    def _take(self, step: Step) -> float:
        """Take one step of the optimiser; return the mean loss of a learnt token."""
        adapter = self._tuned.adapter
        adapter.gradients.zero_()
        learnt = sum(self._train[at].learnt for part in step.parts for at in part)
        total = 0.0
        for number, part in enumerate(step.parts):
            # Dropout follows from where in the run it is, so a resumed run draws the same.
            adapter.dropout.seed(self._recipe.seed, step.number, number)
            examples = [self._train[at] for at in part]
            loss = self._tuned.loss(examples) / learnt
            loss.backward()
            total += loss.item()
            self._standing.tokens += sum(len(example.tokens) for example in examples)
        rate = self._schedule.rate(step.number)
        length = self._optimiser.clip(LONGEST_GRADIENT)
        if not (math.isfinite(total) and math.isfinite(length)):
            named = ", ".join(self._train[at].id for part in step.parts for at in part)
            what = "loss" if not math.isfinite(total) else "gradient"
            raise LossNotFinite(
                f"the {what} is not a finite number at step {step.number + 1} of "
                f"{len(self.steps)} (learning rate {rate:.2e}, examples {named[:300]}); lower "
                "spec.lora.learningRate, or look at these examples; nothing was registered"
            )
        self._optimiser.step(step.number, rate)
        return total

    def _look(self) -> None:
        """Take the held-out loss; note the adapter if it is the best so far."""
        if not self._heldout:
            return
        loss = self.heldout_loss()
        if not math.isfinite(loss):
            raise LossNotFinite(
                f"the held-out loss is not a finite number after step {self._standing.steps}; "
                "lower spec.lora.learningRate; nothing was registered"
            )
        self._standing.heldout.append((self._standing.steps, loss))
        if self._standing.best == (self._standing.steps, loss):
            self._best.copy_(self._tuned.adapter.weights)

    def _trained(self, stopped: Literal["epochs", "time"]) -> Trained:
        standing = self._standing
        if self._recipe.keep == "best" and standing.best is not None:
            return Trained(self._best, standing.best, standing, stopped)
        loss = standing.heldout[-1][1] if standing.heldout else None
        return Trained(self._tuned.adapter.weights, (standing.steps, loss), standing, stopped)

    def _vectors(self) -> dict[str, torch.Tensor]:
        return {
            "weights": self._tuned.adapter.weights,
            "first": self._optimiser.first,
            "second": self._optimiser.second,
            "best": self._best,
        }

    def _save(self) -> None:
        if self._checkpoints:
            self._checkpoints.save(self._standing, self._vectors())


def _looks(steps: Sequence[Step], least: int) -> frozenset[int]:
    """Return the steps after which the held-out loss is taken: epochs' ends, or more often."""
    ends = epoch_ends(steps)
    if len(ends) >= least:
        return ends
    parts = min(least, len(steps))
    return ends | {round(len(steps) * (at + 1) / parts) - 1 for at in range(parts)}
