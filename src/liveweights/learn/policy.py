"""The model that is trained, and its log-probabilities of rows."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from liveweights.catalog.routers import stack
from liveweights.engines.experts import Experts
from liveweights.learn import attention, sharing
from liveweights.learn.head import scaled_logprobs, score_tokens, token_logprobs
from liveweights.learn.layout import Batch, Layout, fits_trees, lay_out
from liveweights.learn.routing import Routing
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow, pack
from liveweights.learn.updaters import open_updater
from liveweights.learn.updaters.load import compute_dtype, device_of
from liveweights.learn.ways import Way, file_of, read_way, write_way

log = logging.getLogger(__name__)

_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.15}
"""Mean difference in nats between two ways of computing the same."""
_GIB = 2**30


def _tell_nobody(rows: int, total: int) -> None:
    """Who watches, sets another."""


class Policy:
    """Weights that an updater moves, asked for the log-probabilities of rows.

    Loaded from ``parent`` (the base where None) and not yet updated, it is the incumbent. Which
    way of computing is right for the model is found at the start, by comparison with the plain
    pass over one row: see ``layout`` and ``headless``.
    """

    def __init__(
        self, base: Path, parent: Path | None, settings: LearnSettings, ways: Path | None = None
    ) -> None:
        """``ways`` is a folder in which the way that was found is kept for the next policy of such
        a model. Raises OSError or ValueError where a folder holds no loadable weights."""
        self.updater = open_updater(base, parent, settings)
        self.device = device_of(settings)
        self._dtype = compute_dtype(settings)
        self._config: Any = self.model.config.get_text_config()
        self._own_attention: str = self._config._attn_implementation
        self._routing = Routing(self.model)
        self.keeps_routing = settings.routing == "kept" and len(self._routing) > 0
        """Whether it is a mixture of experts whose tokens keep their experts in an update."""
        self._routes: dict[tuple[int, ...], Tensor] = {}
        """Of each row's tokens (N, L, K), as the incumbent computed them."""
        self._served: dict[tuple[int, ...], Tensor] = {}
        """Of the tokens that predict its answer (T, L, K), as they were served."""
        self._forcing = False
        """Whether passes without gradient send tokens through their experts, too."""
        self.passed: Callable[[int, int], None] = _tell_nobody
        """Told after each pass that only scores: rows of it, and in all that were asked for."""
        self.layout: Layout = "rows"
        self.headless = False
        self._most_nodes = math.inf
        """Whose activations a pass may keep; those of longer ones are computed twice."""
        attention.register()
        way = self._find_way(
            ways and file_of(ways, base, settings, dtype=self.dtype, device=str(self.device))
        )
        self.layout, self.headless = way.layout, way.headless
        self._take_attention()
        self._most_nodes = settings.memory_gib * _GIB / max(way.bytes_per_node, 1.0)
        self._stay_within(settings.nodes)
        if sharing.processes() > 1:
            sharing.shard(self._body(), self.device)

    @property
    def model(self) -> Any:
        return self.updater.model

    @property
    def dtype(self) -> Literal["float32", "bfloat16"]:
        """Name of the precision that it computes in."""
        return "float32" if self._dtype == torch.float32 else "bfloat16"

    @property
    def way(self) -> str:
        """How it computes, in words."""
        return (
            f"{self.layout}, {'only the logits that are read' if self.headless else 'all logits'}"
        )

    def parameters(self) -> list[Any]:
        return self.updater.parameters()

    def logits(self, paths: Sequence[TokenRow]) -> tuple[Tensor, Tensor, Tensor]:
        """One pass over the rows, what they share once.

        Returns logits (T, V) only where an answer token is predicted, targets (T,), rows (T,).
        """
        batch = self._lay_out(paths)
        with self._autocast():
            if self.headless:
                logits_TV = self._language_model().get_output_embeddings()(self._hidden(batch))
            else:
                logits_TV = self._whole(batch)
        return logits_TV.float().cpu(), batch.target_T.cpu(), batch.row_T

    def logprobs(self, paths: Sequence[TokenRow], temperature_B: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the answer tokens (T,) at each row's temperature, and rows (T,)."""
        if not self.headless:
            logits_TV, target_T, row_T = self.logits(paths)
            return scaled_logprobs(logits_TV, target_T, temperature_B[row_T]), row_T
        batch = self._lay_out(paths)
        heat_T = temperature_B[batch.row_T].to(self.device)
        head = self._language_model().get_output_embeddings()
        with self._autocast():
            logprobs_T = token_logprobs(self._hidden(batch), head, batch.target_T, heat_T)
        return logprobs_T.cpu(), batch.row_T

    @torch.no_grad()
    def logprobs_and_entropies(
        self, paths: Sequence[TokenRow], temperature_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Of each answer token its log-probability (T,) at its row's temperature, and the entropy
        of what could stand there (T,) at temperature 1, in nats."""
        if not self.headless:
            logits_TV, target_T, row_T = self.logits(paths)
            return score_tokens(logits_TV, None, target_T, temperature_B[row_T])
        batch = self._lay_out(paths)
        heat_T = temperature_B[batch.row_T].to(self.device)
        head = self._language_model().get_output_embeddings()
        with self._autocast():
            scores_T, entropy_T = score_tokens(self._hidden(batch), head, batch.target_T, heat_T)
        return scores_T.cpu(), entropy_T.cpu()

    def pack(self, paths: Sequence[TokenRow], nodes: int) -> list[list[int]]:
        """Passes of at most ``nodes`` tokens each, or of one row; see `tree.pack`."""
        return pack(paths, nodes, shared=self.layout != "rows")

    @torch.no_grad()
    def score(
        self,
        paths: Sequence[TokenRow],
        temperatures: Sequence[float],
        nodes: int,
        *,
        keep_routes: bool = False,
        follow_routes: bool = False,
    ) -> list[Tensor]:
        """Log-probabilities of each row's answer tokens, without gradient.

        ``keep_routes``: these are the rows of an update, and this the incumbent. Where routing
        is to be kept, gradient steps will send their tokens through the experts that they go
        through now: those that served them where that is known (``route_as_served``).
        ``follow_routes``: these are rows of a gradient step, computed as it will compute them, and
        part of it: ``passed`` is not told.
        """
        groups = self.pack(paths, nodes)
        ours = sharing.share(groups)
        most = -(-len(groups) // sharing.processes())
        scores: list[Tensor] = []
        self._forcing = keep_routes or follow_routes
        # Sharded weights are gathered by all processes at once: all make equally many passes.
        for indices in [*ours, *groups[: most - len(ours)]]:
            chosen = [paths[i] for i in indices]
            heat_B = torch.tensor([temperatures[i] for i in indices])
            if keep_routes and self.keeps_routing:
                with self._routing.recorded() as choices:
                    logprobs_T, row_T = self.logprobs(chosen, heat_B)
                self._keep(chosen, stack(choices))
            else:
                logprobs_T, row_T = self.logprobs(chosen, heat_B)
            scores += logprobs_T.split([int(n) for n in torch.bincount(row_T)])
            if not follow_routes:
                self.passed(sharing.processes() * len(chosen), len(paths))
        self._forcing = False
        if keep_routes and self.keeps_routing:
            self._routes = dict(sharing.gather(list(self._routes.items())))
        return sharing.gather(scores[: sum(map(len, ours))])

    def route_as_served(self, path: TokenRow, experts: Experts) -> bool:
        """Send the tokens that predict the path's answer through the experts that served it, until
        ``finish``; whether they are of such a model and such an answer."""
        if not experts.serves(len(path.prompt_ids), len(path.answer_ids)):
            return False
        chosen_TLK = self._routing.fit(experts)
        if chosen_TLK is None:
            return False
        self._served[_key(path)] = chosen_TLK
        return True

    def base(self) -> AbstractContextManager[None]:
        """A context in which the policy is its base."""
        return self.updater.base()

    def finish(self) -> None:
        """After the last step of an update."""
        self._routes.clear()
        self._served.clear()
        self.updater.finish()

    def save(self, folder: Path) -> None:
        """Write the checkpoint's files."""
        self.updater.save(folder)

    def _language_model(self) -> Any:
        """The causal model itself, inside PEFT's wrapping where there is one."""
        return self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model

    def _lay_out(self, paths: Sequence[TokenRow]) -> Batch:
        batch = lay_out(paths, self.layout, self._config, device=self.device, dtype=self._dtype)
        if torch.is_grad_enabled() and sharing.processes() == 1:
            self._stay_within(batch.inputs["input_ids"].numel())
        forced = self.keeps_routing and (torch.is_grad_enabled() or self._forcing)
        self._routing.force(self._choices(paths, batch) if forced else None)
        return batch

    def _body(self) -> Any:
        """The model without its head."""
        model = self._language_model()
        return getattr(model, model.base_model_prefix)

    def _hidden(self, batch: Batch) -> Tensor:
        """The last hidden states where answer tokens are read: (T, D)."""
        states: Tensor = self._body()(**batch.inputs, use_cache=False).last_hidden_state
        return states.flatten(0, 1)[batch.reader_T]

    def _whole(self, batch: Batch) -> Tensor:
        """The model's own logits where answer tokens are read: (T, V)."""
        logits: Tensor = self.model(**batch.inputs, use_cache=False).logits
        return logits.flatten(0, 1)[batch.reader_T]

    def _autocast(self) -> torch.autocast:
        enabled = self._dtype != torch.float32
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _find_way(self, file: Path | None) -> Way:
        """The way that is kept in the file, else the one that is found now and kept there."""
        if file is not None and (known := read_way(file)) is not None:
            return known
        self._choose_way()
        way = Way(layout=self.layout, headless=self.headless, bytes_per_node=self._bytes_per_node())
        if file is not None and sharing.rank() == 0:
            write_way(file, way)
        return way

    def _take_attention(self) -> None:
        """The attention that the layout needs: the model's own, or one that knows trees."""
        if self.layout == "trees":
            self._language_model().set_attn_implementation(attention.IMPLEMENTATION)
        else:
            self._language_model().set_attn_implementation(self._own_attention)

    @torch.no_grad()
    def _choose_way(self) -> None:
        """Take trees, and the body apart from its head, if they compute the same."""
        paths = self._own_words()
        heat_B = torch.ones(len(paths))
        plain_T = torch.cat([self.logprobs([path], heat_B[:1])[0] for path in paths])
        ways: list[tuple[Layout, bool]] = [
            ("trees", True),
            ("trees", False),
            ("tree", True),
            ("tree", False),
            ("rows", True),
        ]
        if not fits_trees(self._language_model(), self._config):
            ways = ways[-1:]  # rows as short as these, or small random weights, may hide it
        for self.layout, self.headless in ways:
            self._take_attention()
            try:
                found_T = self.logprobs(paths, heat_B)[0]
            except torch.OutOfMemoryError:
                raise
            except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
                # This family's forward pass does not take it; each says so in its own way.
                log.info("%s are not computed: %s: %s", self.way, type(error).__name__, error)
                continue
            if float((found_T - plain_T).abs().mean()) < _TOLERANCE[self._dtype]:
                return
        self.layout, self.headless = "rows", False

    def _own_words(self) -> list[TokenRow]:
        """Rows that share beginnings, of what the model itself would say: on anything else
        rounding in bfloat16 moves it as much as a wrong mask does."""

        def go_on(ids: list[int], count: int, nth: int = 1) -> list[int]:
            """The most likely next tokens; the first is the ``nth`` most likely."""
            tokens: list[int] = []
            for _ in range(count):
                logits_1V, _, _ = self.logits([TokenRow([*ids, *tokens], [0])])
                tokens.append(int(logits_1V[0].topk(nth).indices[-1]))
                nth = 1
            return tokens

        start = [min(1, self._config.vocab_size - 1)]
        shared = [*start, *go_on(start, 8)]
        other = [*shared, *go_on(shared, 2, 2)]
        return [
            TokenRow(shared, go_on(shared, 3)),
            TokenRow(other, go_on(other, 4)),
            TokenRow(shared[:5], go_on(shared[:5], 4, 2)),
        ]

    def _bytes_per_node(self) -> float:
        """Activations that one token of a row leaves for the backward pass, as measured."""
        held: dict[int, int] = {p.untyped_storage().data_ptr(): 0 for p in self.model.parameters()}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            held.setdefault(storage.data_ptr(), storage.nbytes())
            return tensor

        path = TokenRow([1] * 24, [1] * 8)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            logprobs_T, _ = self.logprobs([path], torch.ones(1))
        del logprobs_T
        return sum(held.values()) / 31

    def _stay_within(self, nodes: int) -> None:
        """From the first pass that is too long on, activations are not kept."""
        if nodes > self._most_nodes:
            self._most_nodes = math.inf
            self._checkpoint_activations()

    def _checkpoint_activations(self) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        model = self._language_model()
        model.gradient_checkpointing_enable({"use_reentrant": False})
        for module in model.modules():
            if isinstance(module, GradientCheckpointingLayer):
                module.training = True  # the layer's own switch; what is in it stays in eval mode

    def _keep(self, paths: Sequence[TokenRow], choices_NLK: Tensor) -> None:
        batch = lay_out(paths, self.layout, self._config, device=torch.device("cpu"))
        for path, nodes in zip(paths, batch.nodes, strict=True):
            self._routes[_key(path)] = choices_NLK[torch.from_numpy(nodes)]

    def _choices(self, paths: Sequence[TokenRow], batch: Batch) -> Tensor | None:
        """What each token of the batch goes through (N, L, K): what served it, else what the
        incumbent chose, -1 where neither is known; None where nothing is."""
        choices_NLK: Tensor | None = None
        # What rows share is what served the row whose answer it is.
        for routes in (self._routes, self._served):
            for path, nodes in zip(paths, batch.nodes, strict=True):
                kept = routes.get(_key(path))
                if kept is None:
                    continue
                if choices_NLK is None:
                    size = batch.inputs["input_ids"].numel()
                    choices_NLK = kept.new_full((size, *kept.shape[1:]), -1)
                choices_NLK[torch.from_numpy(nodes[-len(kept) :])] = kept
        return choices_NLK


def _key(path: TokenRow) -> tuple[int, ...]:
    return (len(path.prompt_ids), *path.prompt_ids, *path.answer_ids)


def steps(
    groups: Sequence[list[int]], fewest: int, generator: torch.Generator
) -> Iterator[list[list[int]]]:
    """The gradient steps of one epoch, in random order: of passes (``Policy.pack``) as many as it
    takes for ``fewest`` rows. What is left at the end belongs to the last step."""
    left = sum(map(len, groups))
    step: list[list[int]] = []
    for place in torch.randperm(len(groups), generator=generator).tolist():
        step.append(groups[place])
        left -= len(groups[place])
        if sum(map(len, step)) >= fewest and (left >= fewest or not left):
            yield step
            step = []
    if step:
        yield step
