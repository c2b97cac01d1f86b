"""Whether a refactoring left every number as it was, byte for byte.

    python benchmarks/unchanged.py record before.json      # less than four minutes of a processor
    python benchmarks/unchanged.py check before.json       # exits with 1, naming what differs and by how much

It uses nothing but the package's top-level names and the command line, so that files may move and names inside may
change. Record and check on one machine, with the same libraries: others round otherwise. Needs FMIQA_ASSETS.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from torchmetrics_fmiqa import (
    RECIPES,
    SPIPS,
    FeatureComparator,
    FeatureDistance,
    FeatureDistanceLoss,
    FeatureMetricCollection,
    Recipe,
    SpipsLoss,
    feature_distance,
    feature_distance_map,
)

ASSETS = Path(os.environ.get("FMIQA_ASSETS", "../shared/assets")).resolve()
SQUEEZENET = ASSETS / "weights" / "squeezenet1_1.safetensors"
VIT_TINY = ASSETS / "weights" / "vit_tiny_patch16_224.safetensors"
LIVE = ASSETS / "iqa" / "live58"
PUBLISHED = ASSETS / "published" / "zsiqa_tid2013.csv.gz"

MAPPED = ("l2", "cosine", "angular", "jensen_shannon", "symmetric_kl")
UNMAPPED = ("wasserstein", "sliced_wasserstein")
ZSIQA = ("l2", "cos", "jsd", "skld", "wsd", "swd")
JOINT: dict[str, dict[str, Any]] = {
    "mean": {"distance": {"cosine": 1, "symmetric_kl": 3}},
    "geometric": {"distance": {"l2": 2, "cosine": 1, "jensen_shannon": 1}, "combine": "geometric"},
}
# A network of 0.3 million parameters: tiles of 160, a CLS token.
SMALL_VIT: dict[str, Any] = {"recipe": Recipe("test_vit", weights="random:0")}
EMBEDDED: dict[str, Any] = {"recipe": "embedded"}

#: Numbers are kept as they are, so that a difference can be told in size; tensors as the hash of their bytes.
Found = dict[str, Any]


def numbers(values: Tensor) -> list[float]:
    return [float(value) for value in values.detach().double().flatten()]


def digest(values: Tensor) -> str:
    kept = values.detach().cpu().contiguous()
    return f"{tuple(kept.shape)} {kept.dtype} {hashlib.sha256(kept.numpy().tobytes()).hexdigest()}"


def fmiqa(*arguments: object) -> None:
    main = "import sys; from torchmetrics_fmiqa.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", main, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"fmiqa {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}")


# People's images, by the command line


def live(folder: Path, quick: bool) -> Iterator[tuple[str, Any]]:
    """Scores of live58 by three networks, each row of the table as it is written."""
    header, *rows = (LIVE / "pairs.csv").read_text().splitlines()
    table = folder / "pairs.csv"
    table.write_text("\n".join([header, *rows[:: 6 if quick else 1]]) + "\n")
    given = {"default": (), "squeezenet": weights(SQUEEZENET), "vit-tiny": weights(VIT_TINY)}
    for recipe, options in given.items():
        out = folder / f"{recipe}.csv"
        fmiqa("score", "--pairs", table, "--root", LIVE, "--recipe", recipe, *options, "--layers", "--out", out)
        for row in rows_of(out):
            yield f"live58/{recipe}/{row.pop('dist')}", row


def weights(path: Path) -> tuple[str, str]:
    return "--set", f"weights={path}"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: value.replace(f"{LIVE}{os.sep}", "") for key, value in row.items()} for row in rows]


def agreement(folder: Path, quick: bool) -> Iterator[tuple[str, Any]]:
    """Agreement of published scores with people, a few of them."""
    out = folder / "tid2013"
    metrics = "psnr,msssim,lpips,dinov1_l2,clip_vitb32_jsd"
    how = ("--metrics", metrics, "--opinion", "mos", "--type-from", r"_(\d\d)_", "--resamples", 100)
    fmiqa("benchmark", "--scores", PUBLISHED, *how, "--out", out)
    for row in rows_of(out / "agreement.csv"):
        yield f"agreement/{row.pop('metric')}", row


def trained_head(folder: Path, quick: bool) -> Iterator[tuple[str, Any]]:
    """A head of SPIPS that was trained for a few steps: its tensors, and what the untrained ones scored."""
    table = folder / "rated.csv"
    rows = ["ref,dist,mos"]
    for place, (name, distorted, reference) in enumerate(pairs(64, 4)):
        paths = folder / f"{place}_ref.png", folder / f"{place}_dist.png"
        for path, image in zip(paths, (reference, distorted), strict=True):
            save(image, path)
        rows.append(f"{paths[0].name},{paths[1].name},{1 + (7 * place) % 5 + 0.1 * len(name)}")
    table.write_text("\n".join(rows) + "\n")
    out = folder / "fit"
    how = ("--epochs", 4, "--hidden", 8, "--resamples", 20, "--folds", 2, "--seed", 0)
    fmiqa("fit", "--pairs", table, "--opinion", "mos", *how, "--out", out)
    for path in sorted(out.rglob("*.safetensors")):
        for name, value in load_file(path).items():
            yield f"fit/{path.relative_to(out)}/{name}", digest(value)
    for row in rows_of(out / "predictions.csv"):
        name = Path(row.pop("dist")).name
        yield f"fit/predictions/{name}", {key: row[key] for key in sorted(row) if key not in ("ref", "set")}


# Distorted photographs, by the top-level names


def photograph(number: int) -> Tensor:
    with Image.open(ASSETS / "images" / "kodak" / f"kodim{number:02d}.png") as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).float() / 255


def save(image: Tensor, where: Any) -> None:
    pixels = (255 * image).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(where, format="PNG")


def noisy(image: Tensor, seed: int) -> Tensor:
    drawn = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return (image + 0.05 * drawn).clamp(0, 1)


def blurred(image: Tensor, seed: int) -> Tensor:
    kernel = torch.exp(-0.5 * (torch.arange(-4.0, 5.0) / 1.5) ** 2)
    kernel = (kernel / kernel.sum()).outer(kernel / kernel.sum()).expand(3, 1, 9, 9)
    return F.conv2d(F.pad(image[None], (4, 4, 4, 4), mode="reflect"), kernel, groups=3)[0].clamp(0, 1)


def compressed(image: Tensor, seed: int) -> Tensor:
    file = io.BytesIO()
    Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy()).save(file, format="JPEG", quality=30)
    with Image.open(file) as read:
        return torch.from_numpy(np.array(read)).permute(2, 0, 1).float() / 255


def enlarged(image: Tensor, seed: int) -> Tensor:
    small = F.interpolate(image[None], scale_factor=0.5, mode="bicubic", antialias=True)
    return F.interpolate(small, size=image.shape[-2:], mode="bicubic")[0].clamp(0, 1)


DISTORTIONS = (noisy, blurred, compressed, enlarged)


def pairs(side: int | None = None, references: int = 5) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, distorted image and reference ``(3, H, W)``: of the whole photographs, or of their middle square."""
    for number in range(1, 1 + references):
        reference = photograph(number)
        if side is not None:
            top, left = ((size - side) // 2 for size in reference.shape[-2:])
            reference = reference[:, top : top + side, left : left + side]
        for distort in DISTORTIONS:
            yield f"{number:02d}-{distort.__name__}", distort(reference, number), reference


def batches(side: int | None = None, references: int = 5) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The distorted versions of each photograph, side by side."""
    every = list(pairs(side, references))
    for first in range(0, len(every), len(DISTORTIONS)):
        names, preds, target = zip(*every[first : first + len(DISTORTIONS)], strict=True)
        yield names[0][:2], torch.stack(preds), torch.stack(target)


def distances(folder: Path, quick: bool) -> Iterator[tuple[str, Any]]:
    """Scores, maps and gradients by every distance."""
    for network, fields in (("embedded", EMBEDDED), ("small vit", SMALL_VIT)):
        together = {"together": {"distance": [*MAPPED, *UNMAPPED]}, **{f"joint {how}": JOINT[how] for how in JOINT}}
        for tokens in ("patch",) if network == "embedded" else ("patch", "all", "prefix"):
            for name, distance in together.items():
                own = {**fields, **distance, "tokens": tokens, "pooling": "mean"}
                yield from scored(f"scores/{network}/{tokens}/{name}", own, 5 if tokens == "patch" else 1)
        for name, distance in {**{one: {"distance": one} for one in (*MAPPED, *UNMAPPED)}, **JOINT}.items():
            own = {**fields, **distance}
            yield from learned(f"gradient/{network}/{name}", own, 1 if quick else 2)
            if name not in UNMAPPED:
                yield from drawn(f"map/{network}/{name}", own, 1 if quick else 2)
    for one in ZSIQA:
        recipe = Recipe.zsiqa("vit_tiny_patch16_224").replace(weights="random:0", distance=one, taps=[0, 1, 2])
        yield from scored(f"scores/zsiqa/{one}", {"recipe": recipe}, 1)
        yield from learned(f"gradient/zsiqa/{one}", {"recipe": recipe}, 1)


def scored(name: str, fields: dict[str, Any], references: int) -> Iterator[tuple[str, Any]]:
    for number, preds, target in batches(256, references):
        for pooling in ("mean", "information") if "pooling" in fields else (None,):
            own = fields if pooling is None else {**fields, "pooling": pooling}
            values = feature_distance(preds, target, per_layer=True, reduction="none", **own)
            for tap, value in values.items():
                yield f"{name}/{pooling}/{number}/{tap}", numbers(value)


def learned(name: str, fields: dict[str, Any], references: int) -> Iterator[tuple[str, Any]]:
    loss = FeatureDistanceLoss(**fields)
    for number, preds, target in batches(240, references):
        preds.requires_grad_()
        value = loss(preds, target)
        value.backward()
        yield f"{name}/{number}/loss", numbers(value)
        yield f"{name}/{number}/norm", numbers(preds.grad.flatten(1).norm(dim=1))
        yield f"{name}/{number}", digest(preds.grad)


def drawn(name: str, fields: dict[str, Any], references: int) -> Iterator[tuple[str, Any]]:
    for number, preds, target in batches(300, references):
        for label, value in feature_distance_map(preds, target, per_layer=True, **fields).items():
            yield f"{name}/{number}/{label}/mean", numbers(value.double().mean((1, 2, 3)))
            yield f"{name}/{number}/{label}", digest(value)


def other_doors(folder: Path, quick: bool) -> Iterator[tuple[str, Any]]:
    """Masks, bytes, lists, half types, checkpointing, several metrics at once, SPIPS, and images in pieces."""
    _, preds, target = next(batches(None, 1))
    mask = torch.rand(4, 1, *preds.shape[-2:], generator=torch.Generator().manual_seed(0))
    yield "doors/mask", numbers(feature_distance(preds, target, mask=mask, reduction="none"))
    yield "doors/bytes", numbers(feature_distance((255 * preds).byte(), (255 * target).byte(), reduction="none"))
    lists = [preds[0], preds[1, :, :200], preds[2]], [target[0], target[1, :, :200], target[2]]
    yield "doors/lists", numbers(feature_distance(*lists, reduction="none"))
    yield "doors/odd sides", numbers(feature_distance(preds[..., :301, :97], target[..., :301, :97]))
    small = preds[..., :224, :224], target[..., :224, :224]
    for precision in ("float64", "bfloat16"):
        for network, fields in (("embedded", EMBEDDED), ("small vit", SMALL_VIT)):
            value = feature_distance(*small, precision=precision, reduction="none", **fields)
            yield f"doors/{precision}/{network}", numbers(value)
    yield from learned("doors/checkpointing", {**SMALL_VIT, "grad_checkpointing": True}, 1)
    metrics = FeatureMetricCollection(
        {
            "one": FeatureDistance(reduction="none"),
            "other": FeatureDistance(taps=[0, 2], distance=["l2", "symmetric_kl"]),
            "spips": SPIPS(),
        }
    )
    for name, value in metrics(preds, target).items():
        yield f"doors/collection/{name}", numbers(value)
    for network, fields in (("embedded", EMBEDDED), ("small vit", SMALL_VIT)):
        yield f"doors/spips/{network}", numbers(SPIPS(reduction="none", **fields)(preds, target))
        ours = small[0].clone().requires_grad_()
        SpipsLoss(**fields)(ours, small[1]).backward()
        yield f"doors/spips gradient/{network}", digest(ours.grad)
    few = FeatureDistance(tile_batch=3, reduction="none", **SMALL_VIT)
    yield "doors/tile_batch", numbers(few(preds, target))
    large = [image[:1].repeat(1, 1, 4, 4)[..., :1536, :2304] for image in (preds, target)]
    yield "doors/pieces/squeezenet", numbers(feature_distance(*large, recipe="squeezenet", weights=str(SQUEEZENET)))
    if not quick:
        larger = [image[:1].repeat(1, 1, 4, 5)[..., :2048, :2048] for image in (preds, target)]
        yield "doors/pieces/default", numbers(feature_distance(*larger))


# What metrics are called by


def states(folder: Path, quick: bool) -> Iterator[tuple[str, Any]]:
    """Digest, columns and states of every named recipe; what the states of the small ones hold after a batch."""
    for name, named in RECIPES.items():
        yield f"recipe/{name}/digest", [named.recipe.digest, named.recipe.replace(weights="random:0").digest]
    by_backbone: dict[str, list[str]] = {}
    for name, named in RECIPES.items():
        by_backbone.setdefault(str(named.recipe.backbone), []).append(name)
    for backbone, names in by_backbone.items():
        few = RECIPES[names[0]].parameters < (2 if quick else 60)
        if not few:
            continue
        kept: list[Any] = []  # recipes of one backbone share its weights as long as one of them lives
        for name in names:
            recipe = RECIPES[name].recipe
            if "embedded" not in backbone:
                recipe = recipe.replace(weights="random:0")
            metric = FeatureDistance(recipe)
            kept.append(metric)
            yield f"recipe/{name}/columns", repr((metric.comparator.labels(), metric.comparator.weights()))
            if RECIPES[name].parameters < 2:
                _, preds, target = next(batches(96, 1))
                metric.update(preds, target)
            metric.persistent(True)
            for key, value in metric.state_dict().items():
                yield f"recipe/{name}/states/{key}", [] if isinstance(value, list) else numbers(value)
    metric = SPIPS()
    metric.persistent(True)
    yield "recipe/spips/states", sorted(metric.state_dict())
    yield "recipe/spips/settings", repr(metric.settings())
    shared = FeatureComparator([RECIPES["embedded"].recipe, RECIPES["embedded"].recipe.replace(distance="l2")])
    yield "recipe/shared/labels", repr((shared.labels(0), shared.labels(1)))


PARTS = {
    "live58": live,
    "agreement": agreement,
    "fit": trained_head,
    "distances": distances,
    "doors": other_doors,
    "states": states,
}


def measure(parts: Sequence[str], quick: bool) -> Found:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    found: Found = {"environment": f"torch {torch.__version__}"}
    for name in parts:
        start, before = cpu_seconds(), len(found)
        with tempfile.TemporaryDirectory() as folder:
            for key, value in PARTS[name](Path(folder), quick):
                if key in found:
                    raise SystemExit(f"{key} was measured twice")
                found[key] = value
        print(f"{name:10s} {len(found) - before:5d} entries {cpu_seconds() - start:6.1f} s of a processor", flush=True)
    return found


def cpu_seconds() -> float:
    """Of this process and of those that it has run."""
    return sum(os.times()[:4])


def differences(before: Found, after: Found, every: bool) -> Iterator[str]:
    """What differs, an entry a line; of entries that were not measured again only where ``every`` one should be."""
    for key in sorted(before.keys() | after.keys() if every else after.keys()):
        if key not in after or key not in before:
            yield f"{key}: {'gone' if key in before else 'new'}"
        elif before[key] != after[key]:
            yield f"{key}: {_change(before[key], after[key])}"


def _change(one: Any, other: Any) -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        changed = [key for key in {**one, **other} if one.get(key) != other.get(key)]
        return "; ".join(f"{key}: {one.get(key)} -> {other.get(key)}" for key in changed)
    several = isinstance(one, list) and isinstance(other, list) and len(one) == len(other)
    if several and all(isinstance(value, float) for value in (*one, *other)):
        most = max(abs(a - b) / max(abs(a), abs(b), 1e-300) for a, b in zip(one, other, strict=True))
        return f"by a relative {most:.2g}: {one[:4]} -> {other[:4]}"
    return f"{one} -> {other}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("record", "check"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--quick", action="store_true", help="a part of each: half a minute, for in between")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="parts; by default all")
    options = parser.parse_args()
    if options.what == "record" and options.file.exists():
        raise SystemExit(f"{options.file} is there already: delete it first, or take another name")
    found = measure(options.only, options.quick)
    if options.what == "record":
        options.file.write_text(json.dumps(found, indent=1) + "\n")
        print(f"{len(found)} entries in {options.file}")
        return
    every = not options.quick and options.only == list(PARTS)
    changed = list(differences(json.loads(options.file.read_text()), found, every))
    print(*changed, f"{len(changed)} of {len(found)} entries differ", sep="\n")
    raise SystemExit(1 if changed else 0)


if __name__ == "__main__":
    main()
