"""pytorch-ood's detectors and metrics on given arrays, in a process of their own.

pytorch-ood needs torchvision, which this project keeps out of its environment: both are installed
without their dependencies into a folder of their own, which SYNOOD_PEERS names:

    pip install --no-deps --target DIR pytorch-ood==0.4.0 torchvision

torchvision's compiled operators do not load beside a CPU build of torch; the three that it looks
up on import are declared and never called. Run as a script: IN.npz OUT.npz.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

MISSING = (
    "pytorch-ood is not at hand: pip install --no-deps --target DIR pytorch-ood==0.4.0 torchvision,"
    " then set SYNOOD_PEERS=DIR"
)
OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align": (
        "(Tensor input, Tensor rois, float spatial_scale, int pooled_height, int pooled_width, "
        "int sampling_ratio, bool aligned) -> Tensor"
    ),
}


def folder() -> Path | None:
    """Where pytorch-ood lies, or None where it is not at hand."""
    place = os.environ.get("SYNOOD_PEERS")
    return Path(place) if place and (Path(place) / "pytorch_ood").is_dir() else None


def open_pytorch_ood():
    """Import pytorch-ood into this process; do it after everything else is imported."""
    import torch

    sys.path.append(str(folder()))
    open_pytorch_ood.library = torch.library.Library("torchvision", "DEF")  # lives while it lives
    for name, schema in OPERATORS.items():
        open_pytorch_ood.library.define(name + schema)
    import pytorch_ood

    return pytorch_ood


def peer_scores(arrays: dict[str, np.ndarray], work: Path) -> dict[str, np.ndarray]:
    """Outlier scores of its detectors, higher = more out-of-distribution, and its figures."""
    np.savez(work / "in.npz", **arrays)
    command = [sys.executable, __file__, str(work / "in.npz"), str(work / "out.npz")]
    subprocess.run(command, check=True)
    with np.load(work / "out.npz") as found:
        return dict(found)


def right(logits, labels):
    """Those that are named rightly, which OpenMax is fitted to."""
    kept = logits.argmax(1) == labels
    return logits[kept].detach(), labels[kept]


def pooled(layer):
    """A linear layer on the mean over the places of feature maps."""
    return lambda maps: layer(maps.mean((2, 3)))


def main(source: str, target: str) -> None:
    import torch

    open_pytorch_ood()
    from pytorch_ood import detector as peers
    from pytorch_ood.metrics import functional

    given = {name: torch.from_numpy(array) for name, array in np.load(source).items()}
    train, labels, test = given["train"], given["labels"], given["test"]
    weight, bias, logits = given["weight"], given["bias"], given["logits"]
    maps, head = test[:, :, None, None], lambda x: x.flatten(1) @ weight.T + bias
    layer = torch.nn.Linear(*weight.T.shape)
    layer.weight.data, layer.bias.data = weight, bias
    found = {
        "msp": peers.MaxSoftmax.score(logits),
        "max_logit": peers.MaxLogit.score(logits),
        "energy": peers.EnergyBased.score(logits),
        "energy_5": peers.EnergyBased.score(logits, t=5.0),
        "gen": peers.GEN.score(logits, gamma=0.1, M=3),
        "mcm": peers.MCM(None, given["texts"]).predict_features(test),
        "gradnorm": peers.GradNorm(layer, lambda name: name == "weight").predict(test),
        "dice": peers.DICE(None, weight, bias, p=0.7).fit_features(train, labels),
        "vim": peers.ViM(None, d=5, w=weight, b=bias).fit_features(train, labels),
        "mahalanobis": peers.Mahalanobis(None).fit_features(train, labels),
        "relative": peers.RMD(None).fit_features(train, labels),
        "knn": peers.KNN(None, k=7).fit_features(train, labels),
        "odin": peers.ODIN(layer, eps=0.05, temperature=10.0).predict(test),
    }
    found |= {
        "fdbd": peers.fDBD(None, layer).fit_features(train, labels),
        "nnguide": peers.NNGuide(None, layer, k=7).fit_features(train, labels),
        "she": peers.SHE(None, layer).fit_features(train, labels),
        "scale": peers.SCALE(None, head, percentile=0.85).predict_feature_maps(maps),
        "kl-matching": peers.KLMatching(None).fit_logits(layer(train)).predict_logits(logits),
        "openmax": peers.OpenMax(None, 20, 3).fit_logits(*right(layer(train), labels)),
    }
    if "maps" in given:
        found["rankfeat"] = peers.RankFeat(lambda x: x, pooled(layer)).predict(given["maps"])
    found["openmax"] = found["openmax"].predict_logits(logits)
    for name in ("ash-p", "ash-b", "ash-s"):
        found[name] = peers.ASH(None, head, name, percentile=0.65).predict_feature_maps(maps)
    react = peers.ReAct(None, head, percentile=0.9)
    react.fit_feature_maps(train[:, :, None, None], labels)
    found["react"] = react.predict_feature_maps(maps)
    for name, one in found.items():
        if not isinstance(one, torch.Tensor):
            found[name] = one.predict_features(test)
    outlier, side = -given["confidence"], torch.where(given["inside"], 0, -1)
    figures = {
        "auroc": functional.auroc(outlier, side),
        "aupr_in_trapezoid": functional.aupr(outlier, side, positive="id"),
        "aupr_out_trapezoid": functional.aupr(outlier, side, positive="ood"),
        "fpr95_ood_positive": functional.fpr_at_tpr(outlier, side),
        "aurra": functional.aurra(given["confidence"], given["inside"]),
    }
    found |= {name: torch.as_tensor(value, dtype=torch.float64) for name, value in figures.items()}
    np.savez(target, **{name: scores.detach().numpy() for name, scores in found.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
