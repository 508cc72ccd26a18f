"""One recogniser reads crops in every way: as they are, and as the service returns them.

plain     the crop itself, which the recogniser resizes to its own height
named     recogniser=...: super-resolved if the calibration says that this recogniser gains, else plain
auto      the default: super-resolved if the calibration says that every recogniser gains, else enlarged
always    mode=always: every crop through the network
second    second opinion: plain; where the recogniser is unsure, super-resolved, and the surer reading
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.bulk.in_process import InProcess
from app.imaging.quality_gate import ALWAYS, DEFAULT_POLICY, Decision, QualityGate, RoutingPolicy
from app.inference.predictor import Predictor
from app.serving.loading import open_predictor
from app.serving.pipeline import CropOptions, CropPipeline, Prepared
from app.settings import load_settings
from model_store.calibration import Calibration, SecondOpinion
from model_store.pixels import Chw, Rgb
from model_store.store import Artefact, ModelStore
from model_store.views import Views
from training.calibration.readers import SharedReader
from training.ocr import Reading
from training.readings import Readings

BATCH_SIZES = (1, 8)  # few, because each takes time to warm up
Treated = list[tuple[Rgb, Decision]]
WAYS = {"plain": "plain crop", "named": "recogniser named", "auto": "default", "always": "`mode=always`"}
WAYS["second"] = "second opinion"
POLICIES = {"auto": DEFAULT_POLICY, "always": ALWAYS}  # the ones that do not depend on the recogniser
Flags = npt.NDArray[np.bool_]
Read = tuple[Sequence[Reading], Flags]  # of each crop: its reading; whether it went through the network


@dataclass(frozen=True)
class Subject:
    """inferred: the network's outputs so far, which further policies reuse; None: each policy infers anew.

    one_view: the crops are lines of a page.
    """

    artefact: Artefact
    predictor: Predictor
    gate: QualityGate
    inferred: dict[tuple[bytes, Views], list[Chw]] | None = None
    one_view: bool = False

    @property
    def name(self) -> str:
        return self.artefact.manifest.ref

    def limits(self, recogniser: str) -> SecondOpinion:
        """Of second opinions; limits that send no crop for a recogniser without."""
        return self.gate.second_opinions.get(recogniser, SecondOpinion(below=0, margin=0))

    def treated(self, crops: Sequence[Rgb], policy: RoutingPolicy) -> Treated:
        """The crops as the service returns them, by its own code in this process."""
        pipeline = CropPipeline(self.predictor.spec, self.gate, sizes=self.artefact.manifest.input_sizes)
        service = InProcess(self.predictor, pipeline, policy=policy)
        options = CropOptions("native", policy, self.one_view)
        prepared = [pipeline.prepare(crop, options) for crop in crops]
        inferred = {} if self.inferred is None else self.inferred
        new = {_key(one): one for one in prepared if one.decision.infers and _key(one) not in inferred}
        inferred.update(zip(new, service.infer(list(new.values())), strict=True))
        return [(pipeline.finish(one, inferred.get(_key(one), [])), one.decision) for one in prepared]


def _key(prepared: Prepared) -> tuple[bytes, Views]:
    return prepared.rgb.tobytes(), prepared.views


def open_subject(args: argparse.Namespace) -> Subject:
    """args: `model` and `model_store`. Raises StartupError or ModelStoreError."""
    settings = load_settings(model=args.model, model_store=args.model_store)
    artefact = ModelStore(settings.model_store).resolve(args.model)
    gate = QualityGate(Calibration.of(artefact))
    return Subject(artefact, open_predictor(settings, artefact, batch_sizes=BATCH_SIZES), gate)


def read_in_every_way(
    subject: Subject, reader: SharedReader, store: Readings, crops: Sequence[Rgb], treated: Mapping[str, Treated]
) -> dict[str, Read]:
    """treated: the crops by way of POLICIES; the other ways are added."""

    def read(pictures: Sequence[Rgb]) -> list[Reading]:
        return store.read_with_confidence(reader, pictures, label=reader.name)

    plain = read(crops)
    none = np.zeros(len(crops), bool)
    found: dict[str, Read] = {"plain": (plain, none), "named": (plain, none)}
    if reader.name in subject.gate.recognisers:
        treated = {"named": subject.treated(crops, RoutingPolicy("auto", reader.name)), **treated}
    for way, made in treated.items():
        found[way] = read([rgb for rgb, _ in made]), np.array([decision.infers for _, decision in made], bool)
    limits = subject.limits(reader.name)
    unsure = np.array([limits.sends(reading.confidence) for reading in plain], bool)
    places = np.flatnonzero(unsure).tolist()
    again = subject.treated([crops[i] for i in places], RoutingPolicy("always", reader.name))
    second = dict(zip(places, read([rgb for rgb, _ in again]), strict=True))
    surer = kept(plain, [second.get(i, one) for i, one in enumerate(plain)], limits)
    return {**found, "second": (surer, unsure)}


def kept(plain: Sequence[Reading], again: Sequence[Reading], limits: SecondOpinion) -> list[Reading]:
    """The reading of each crop after a second opinion. again: of the crops that were not sent, anything."""
    return [
        second
        if limits.sends(first.confidence) and limits.keeps_second(first.confidence, second.confidence)
        else first
        for first, second in zip(plain, again, strict=True)
    ]
