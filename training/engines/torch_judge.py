"""Evaluation on held-out words, on the network's device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn

from model_store.manifest import PixelSpec
from training.config import TrainConfig
from training.engines.torch_reading import Reader
from training.engines.torch_views import look_at
from training.held_out import Figures, Uint8, figures, reads_crops, sheet, word_sets
from training.ocr import TextReader

SHEET_ROWS = 12


class Judge:
    """Reads held-out words by the loss's readers, on the device in full precision and colour, and by `others`."""

    def __init__(self, config: TrainConfig, device: torch.device, others: Sequence[TextReader] = ()) -> None:
        model = config.model
        spec = PixelSpec(model.height, model.width, model.scale)
        self.sets = word_sets(config.data, spec, seed=config.seed, limit=config.data.validation_limit)
        self.device = device
        readers = [Reader(name).to(device) for name in config.loss.readers]
        self._readers = {reader.name: self._reads(reader) for reader in readers}
        self._readers |= {reader.name: reads_crops(reader) for reader in others}

    @property
    def names(self) -> list[str]:
        """Names of the readers."""
        return list(self._readers)

    def plain(self, readers: Sequence[str]) -> dict[str, Figures]:
        """Preset -> figures of HR and bicubic."""
        chosen = {name: self._readers[name] for name in readers}
        return {
            words.name: figures(words, {"hr": words.hr, "bicubic": words.bicubic}, chosen) for words in self.sets
        }

    def figures(self, networks: Mapping[str, nn.Module], readers: Sequence[str]) -> dict[str, Figures]:
        """Preset -> figures of the networks, by name."""
        chosen = {name: self._readers[name] for name in readers}
        found: dict[str, Figures] = {}
        for words in self.sets:
            made = {name: self._enlarged(network, words.lr) for name, network in networks.items()}
            found[words.name] = figures(words, made, chosen)
        return found

    def sheet(self, networks: Mapping[str, nn.Module]) -> Image.Image:
        rows = []
        for words in self.sets:
            made = {name: self._enlarged(network, words.lr[:SHEET_ROWS]) for name, network in networks.items()}
            rows.append(sheet(words, {"bicubic": words.bicubic, **made, "hr": words.hr}, rows=SHEET_ROWS))
        return Image.fromarray(np.concatenate(rows))

    @torch.no_grad()
    def _enlarged(self, network: nn.Module, lr: Uint8) -> Uint8:
        network.eval()
        batches = torch.from_numpy(lr).split(64)
        made = [network(b.to(self.device).permute(0, 3, 1, 2).float() / 255) for b in batches]
        sr: Uint8 = torch.cat(made).clamp(0, 1).mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return sr

    def _reads(self, reader: Reader) -> Callable[[Uint8, np.ndarray], list[str]]:
        def read(pictures: Uint8, boxes: np.ndarray) -> list[str]:
            texts: list[str] = []
            pairs = zip(torch.from_numpy(pictures).split(64), torch.from_numpy(boxes).split(64), strict=True)
            for some, places in pairs:
                shown = some.to(self.device).permute(0, 3, 1, 2).float() / 255
                texts += reader.texts(look_at(shown, places.to(self.device)))
            return texts

        return read
