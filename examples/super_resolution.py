"""Does a perceptual loss make super-resolution better? Train a small x4 network with and without, and measure.

    python examples/super_resolution.py --quick            # about a quarter of an hour on two CPU cores
    python examples/super_resolution.py                    # the longer run

Stages, in one command:

    pretrain         L1 alone
    l1               goes on from that checkpoint with L1 alone
    perceptual       goes on from the same checkpoint with L1 + weight * FeatureDistanceLoss (--loss RECIPE)
    perceptual+grid  likewise, + W * GridArtifactLoss, with --grid-weight W alone

All but the first see the same crops in the same order for the same number of steps. They are then measured against
bicubic on images that were not trained on, by networks that were not in the loss, and for the grid of 4 pixels that
pixel shuffle leaves. OUT gets table.md, table.csv, figure.png, and all images in images/METHOD, for `fmiqa compare`.

Interrupt it whenever you like: the same command goes on where it was. Images and weights come from the folder
FMIQA_ASSETS (images/{bsd100,kodak,set5,set14}, weights/*.safetensors), or give --train FOLDER --val FOLDER. What is
not there is downloaded once; a judge (SqueezeNet, ViT-Tiny, LPIPS) is left out where that fails, and the loss
itself needs no download. On a machine that does other work too, OMP_NUM_THREADS=1 can be much faster.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from super_resolution_data import (
    CROP,
    SCALE,
    Crops,
    EpochOfCrops,
    InputError,
    Photograph,
    WholeImages,
    find_files,
    local_recipe,
    read,
)
from super_resolution_network import SuperResolution
from super_resolution_report import Judges, report
from torch.utils.data import DataLoader
from torchmetrics.image import PeakSignalNoiseRatio

from torchmetrics_fmiqa import (
    FeatureDistance,
    FeatureDistanceLoss,
    GridArtifact,
    GridArtifactLoss,
    ImageQualityMonitor,
    WeightsUnavailableError,
)

# A checkpoint is written after each epoch, so an interruption costs at most so many steps
STEPS_PER_EPOCH = 250
VALIDATIONS = 4  # in each stage

LONG = {"steps": 25_000, "finetune_steps": 5_000}
QUICK = {"steps": 3_000, "finetune_steps": 800}


def parse_arguments() -> argparse.Namespace:
    description = __doc__ or ""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="images to train on")
    parser.add_argument("--val", type=Path, metavar="FOLDER", help="images to validate on")
    parser.add_argument("--out", type=Path, default=Path("super_resolution"), help="folder of the run")
    parser.add_argument("--quick", action="store_true", help=f"fewer steps: {QUICK}, else {LONG}")
    parser.add_argument("--steps", type=int, help="steps of the pretraining, rounded to whole epochs")
    parser.add_argument("--finetune-steps", type=int, help="steps of each of the other two stages, likewise")
    parser.add_argument("--batch", type=int, default=16, help="crops a step")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate of the pretraining")
    parser.add_argument("--finetune-lr", type=float, default=2e-4, help="learning rate of the other two stages")
    parser.add_argument("--weight", type=float, default=0.03, help="weight of the perceptual loss beside L1")
    parser.add_argument("--grid-weight", type=float, metavar="W", help="also train with this weight against grids")
    parser.add_argument("--loss", default="embedded", metavar="RECIPE", help="recipe of the perceptual loss")
    # a CPU without instructions for bfloat16 takes ten times as long by it
    own = "bf16-mixed" if torch.cuda.is_available() else "32-true"
    parser.add_argument("--precision", choices=("bf16-mixed", "32-true"), default=own, help="Lightning's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", choices=("skimage", "val"), default="skimage", help="photographs of figure.png")
    given = parser.parse_args()
    for name, default in (QUICK if given.quick else LONG).items():
        if getattr(given, name) is None:
            setattr(given, name, default)
    for name in ("steps", "finetune_steps", "batch"):
        if getattr(given, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {getattr(given, name)}")
    if given.out.exists() and not given.out.is_dir():
        raise InputError(f"--out {given.out} is no folder")
    return given


def check_settings(given: argparse.Namespace, files: dict[str, list[str]], loss: FeatureDistanceLoss) -> None:
    """Write down what the run depends on; refuse to go on with a run that was made with something else."""
    names = ("steps", "finetune_steps", "batch", "lr", "finetune_lr", "weight", "precision", "seed", "grid_weight")
    settings = {name: getattr(given, name) for name in names} | {"loss": loss.recipe.digest} | files
    path = given.out / "settings.json"
    if path.is_file():
        before = json.loads(path.read_text())
        other = [name for name, value in settings.items() if before.get(name) != value]
        if other:
            raise InputError(f"{given.out} holds a run with other settings ({', '.join(other)}): give another --out")
    given.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=1) + "\n")


def loggers(folder: Path) -> list[Logger]:
    """A CSV file always, TensorBoard where it is installed."""
    found: list[Logger] = [CSVLogger(folder, name="log")]
    if importlib.util.find_spec("tensorboard") or importlib.util.find_spec("tensorboardX"):
        found.append(TensorBoardLogger(folder, name="tensorboard"))
    else:
        print("tensorboard is not installed: the scores go to log/*/metrics.csv, and the worst images beside it")
    return found


def run_stage(
    name: str,
    model: SuperResolution,
    steps: int,
    given: argparse.Namespace,
    train: list[Photograph],
    val: list[Photograph],
) -> Path:
    """Train one stage, from its last checkpoint where there is one; return the checkpoint at its end."""
    folder = given.out / name
    last: Path = folder / "last.ckpt"
    epochs = VALIDATIONS * max(1, round(steps / (VALIDATIONS * STEPS_PER_EPOCH)))
    length = max(1, steps // epochs)
    if last.is_file() and torch.load(last, weights_only=True)["global_step"] >= epochs * length:
        print(f"{name}: done before")
        return last
    model.steps = epochs * length  # for the learning rate, which reaches its end with the last step
    monitor = ImageQualityMonitor(
        {
            "embedded": FeatureDistance(local_recipe("embedded")),
            "psnr": PeakSignalNoiseRatio(data_range=1.0),
            "grid": GridArtifact(periods=[SCALE]),
        },
        crop_border=SCALE,
    )
    best = ModelCheckpoint(folder, "best", monitor="quality/embedded", mode="min", enable_version_counter=False)
    every = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    trainer = L.Trainer(
        default_root_dir=folder,
        accelerator="auto",
        devices=1,
        precision=given.precision,
        max_epochs=epochs,
        check_val_every_n_epoch=epochs // VALIDATIONS,
        num_sanity_val_steps=0,
        log_every_n_steps=min(50, length),
        logger=loggers(folder),
        # the monitor comes first: it logs the score that the checkpoint looks for
        callbacks=[monitor, best, every, TQDMProgressBar(refresh_rate=25)],
        use_distributed_sampler=False,
        enable_model_summary=False,
    )
    print(f"{name}: {epochs} epochs of {length} steps" + (", continued" if last.is_file() else ""))
    # crops are cut in microseconds: worker processes would only take the cores from the network
    crops = DataLoader(Crops(train, model.seed), given.batch, sampler=EpochOfCrops(length * given.batch))
    try:
        trainer.fit(model, crops, DataLoader(WholeImages(val)), ckpt_path=last if last.is_file() else None)
    except SystemExit:  # how Lightning leaves after Ctrl-C or SIGTERM
        sys.exit(f"interrupted in {name}: the same command goes on from its last whole epoch")
    return last


def load_network(model: SuperResolution, checkpoint: Path) -> SuperResolution:
    """Give a model the weights of a stage's end."""
    model.load_state_dict(torch.load(checkpoint, weights_only=True, map_location="cpu")["state_dict"])
    return model


def main() -> None:
    given = parse_arguments()
    train_files, val_files = find_files(given.train, given.val)
    # whatever can fail fails now, and not after an hour of training
    loss = FeatureDistanceLoss(local_recipe(given.loss, resolution="native"), random_shift=True)
    used = {"train": train_files, "val": val_files}
    check_settings(
        given, {key: [f"{file.parent.name}/{file.name}" for file in files] for key, files in used.items()}, loss
    )
    judges = Judges(given.loss)
    train, val = read(train_files, CROP), read(val_files, CROP)

    def model(**options: Any) -> SuperResolution:
        torch.manual_seed(given.seed)
        return SuperResolution(**options)

    start = run_stage("pretrain", model(lr=given.lr, seed=given.seed), given.steps, given, train, val)
    stages: dict[str, dict[str, Any]] = {"l1": {}, "perceptual": {"perceptual": loss, "weight": given.weight}}
    if given.grid_weight is not None:
        against_grids = {"grid": GridArtifactLoss(periods=[SCALE]), "grid_weight": given.grid_weight}
        stages["perceptual+grid"] = {**stages["perceptual"], **against_grids}
    results = {}
    for name, losses in stages.items():
        tuned = model(lr=given.finetune_lr, seed=given.seed + 1, **losses)
        end = run_stage(name, load_network(tuned, start), given.finetune_steps, given, train, val)
        results[name] = load_network(tuned, end).eval()
    report(results, val, judges, given.out, given.show)


if __name__ == "__main__":
    # what Lightning says of a folder that is gone on with, of few workers (see `run_stage`) and of torch's own insides
    warnings.filterwarnings("ignore", ".*(Checkpoint directory|does not have many workers|LeafSpec).*")
    try:
        main()
    except (InputError, WeightsUnavailableError) as error:
        sys.exit(f"super_resolution: {error}")
