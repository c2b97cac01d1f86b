"""Labels of formulas for the training of the embedded network, and the folder that keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from torchmetrics_fmiqa.features.embedded import EmbeddedNetwork
from train.embedded import labelled
from train.embedded.beside import beside
from train.embedded.distortions import TRAINED
from train.embedded.formulas import FORMULAS, fused, verdicts
from train.embedded.images import make_images
from train.embedded.labelled import Labelled, make_labelled
from train.embedded.objectives import UNSEEN
from train.embedded.train import Run, Settings
from train.embedded.untrained import SEEDS, untrained_verdicts

pytest.importorskip("piq", reason="the formulas are piq's: install the extra iqa")


@pytest.fixture(scope="module")
def pool() -> Tensor:
    return make_images(range(4), 128)


@pytest.fixture(scope="module")
def folder(pool: Tensor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("labelled")
    make_labelled(made, pool, range(3), (2, 4, 96))
    return made


class TestFormulas:
    @pytest.mark.parametrize("kind", ["blur", "noise", "jpeg", "super_resolve"])
    def test_all_say_that_a_worse_copy_is_worse(self, pool: Tensor, kind: str) -> None:
        images = pool.float() / 255
        mild, worse = (
            torch.cat([TRAINED[kind](one[None], severity, torch.Generator().manual_seed(0)) for one in images])
            for severity in (2, 4.5)
        )
        assert (verdicts(mild, images) < verdicts(worse, images)).double().mean() > 0.95

    def test_equal_images_are_the_best(self, pool: Tensor) -> None:
        images = pool.float() / 255
        torch.testing.assert_close(verdicts(images, images), torch.zeros(4, len(FORMULAS)), atol=1e-3, rtol=0)

    def test_fused_is_the_mean_of_ranks(self) -> None:
        columns = torch.tensor([[0.1, 5.0], [0.3, 1.0], [0.2, 9.0]])
        assert fused(columns).tolist() == pytest.approx([0.25, 0.5, 0.75])

    def test_fused_hears_no_scale(self) -> None:
        columns = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
        assert torch.equal(fused(columns), fused(columns * torch.tensor([1.0, 100.0, 0.01])))

    def test_equal_verdicts_share_their_rank(self) -> None:
        assert fused(torch.tensor([[1.0], [1.0], [0.0], [2.0]])).tolist() == pytest.approx([0.5, 0.5, 0.0, 1.0])


class TestUntrained:
    @pytest.mark.parametrize("kind", ["blur", "noise", "jpeg", "super_resolve"])
    def test_each_says_that_a_worse_copy_is_worse(self, pool: Tensor, kind: str) -> None:
        images, places = pool.float() / 255, torch.arange(4)
        mild, worse = (
            torch.cat([TRAINED[kind](one[None], severity, torch.Generator().manual_seed(0)) for one in images])
            for severity in (2, 4.5)
        )
        for seed in SEEDS:
            one, other = (untrained_verdicts(copies, images, places, [seed]) for copies in (mild, worse))
            assert (one < other).all()

    def test_an_equal_image_is_the_nearest(self, pool: Tensor) -> None:
        images, places = pool.float() / 255, torch.arange(4)
        assert untrained_verdicts(images, images, places).exp().tolist() == pytest.approx([1e-6] * 4)

    def test_each_copy_is_held_against_its_own_reference(self, pool: Tensor) -> None:
        images = pool.float() / 255
        crossed = untrained_verdicts(images.flip(0), images, torch.tensor([3, 2, 1, 0]))
        assert crossed.exp().tolist() == pytest.approx([1e-6] * 4)
        assert (untrained_verdicts(images.flip(0), images, torch.arange(4)).exp() > 0.05).all()


class TestLabelled:
    def test_a_step_is_the_same_again_and_another_epoch_is_not(self, folder: Path) -> None:
        kept = Labelled(folder)
        assert len(kept) == 3
        (crops, copies), (same, yours) = kept.batch(0, 4, 0.5), Labelled(folder).batch(0, 4, 0.5)
        assert torch.equal(crops, same)
        assert torch.equal(copies.images, yours.images)
        assert crops.shape == (2, 3, 96, 96)
        assert copies.images.shape == (8, 3, 96, 96)
        assert 0 <= copies.images.min() <= copies.images.max() <= 1
        sums = [
            {round(float(kept.batch(0, 3 * epoch + step, 0.5)[1].images.sum()), 2) for step in range(3)}
            for epoch in (0, 1)
        ]
        assert sums[0].isdisjoint(sums[1])

    def test_labels_follow_severity(self, folder: Path) -> None:
        kept = Labelled(folder)
        for step in range(3):
            _, copies = kept.batch(0, step, 0.5)
            # the second and third copy are of one distortion, the third the stronger
            assert (copies.label[1::4] < copies.label[2::4]).all()
            assert (copies.label[::4] == copies.label[0]).all()
            assert (copies.severity[::4] == UNSEEN).all()

    def test_a_moved_copy_is_moved(self, folder: Path) -> None:
        crops, copies = Labelled(folder).batch(0, 0, 0.5)
        for number in (0, 1):
            assert not torch.equal(copies.images[4 * number], crops[number])
            assert (copies.images[4 * number] - crops[number]).abs().mean() < 0.15

    def test_shares_of_copies_are_moved(self, folder: Path) -> None:
        kept, counts = Labelled(folder), [0, 0]
        for step in range(3):
            few, some, every = (kept.batch(0, step, moved)[1] for moved in (1e-9, 0.5, 1.0))
            assert torch.equal(few.label, every.label)
            distorted = few.severity > UNSEEN
            for place, one in enumerate((some, every)):
                counts[place] += int((few.images == one.images).flatten(1).all(1)[distorted].sum())
        assert 0 < counts[0] < 18
        assert counts[1] == 0

    def test_without_moves_nothing_is_only_moved(self, folder: Path) -> None:
        _, copies = Labelled(folder).batch(0, 0, 0)
        assert copies.images.shape == (6, 3, 96, 96)
        assert copies.label.shape == copies.severity.shape == (6,)
        assert (copies.severity > UNSEEN).all()

    def test_severity_counts_where_it_compares(self, folder: Path) -> None:
        plain, blended, severe = (Labelled(folder, blend) for blend in (0.0, 0.5, 1.0))
        for step in range(3):
            (_, one), (_, half), (_, full) = (kept.batch(0, step, 0.5) for kept in (plain, blended, severe))
            torch.testing.assert_close(half.label, (one.label + full.label) / 2)
            fair = one.comparable & (one.severity > UNSEEN)
            assert torch.equal(one.label[~fair], full.label[~fair])
            order = one.severity[fair].argsort()
            assert (full.label[fair][order].diff() >= 0).all()

    def test_untrained_networks_count_beside_formulas(self, folder: Path) -> None:
        formulas, both, networks = (Labelled(folder, untrained=share) for share in (0.0, 0.5, 1.0))
        changed = False
        for step in range(3):
            (_, one), (_, half), (_, other) = (kept.batch(0, step, 0.5) for kept in (formulas, both, networks))
            torch.testing.assert_close(half.label, (one.label + other.label) / 2)
            fair = one.comparable & (one.severity > UNSEEN)
            assert torch.equal(one.label[~fair], other.label[~fair])
            changed |= not torch.equal(one.label[fair], other.label[fair])
            if bool(fair[1]):  # the second and third copy are of one distortion, the third the stronger
                assert other.label[1] < other.label[2]
        assert changed

    def test_labels_that_lack_are_added(self, folder: Path, pool: Tensor, tmp_path: Path) -> None:
        kept = torch.load(folder / "000001.pt", weights_only=True)
        torch.save({name: value for name, value in kept.items() if name != "untrained"}, tmp_path / "000001.pt")
        with pytest.raises(ValueError, match=r"000001\.pt' lacks labels"):
            Labelled(tmp_path)
        make_labelled(tmp_path, pool, range(1, 2), (2, 4, 96))
        again = torch.load(tmp_path / "000001.pt", weights_only=True)
        assert again.keys() == kept.keys()
        torch.testing.assert_close(again["untrained"], kept["untrained"])

    @pytest.mark.parametrize("part", ["2/2", "5/2", "-1/2", "1", "0/0", "a/b"])
    def test_a_part_that_is_none_is_refused(self, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.argv", ["labelled", f"--part={part}", "--out", str(tmp_path)])
        with pytest.raises(SystemExit, match=f"error: `part` is K/N .*{part}"):
            labelled.main()

    def test_what_is_there_is_not_made_again(self, folder: Path, pool: Tensor) -> None:
        times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        make_labelled(folder, pool, range(3), (2, 4, 96))
        assert times == {path: path.stat().st_mtime_ns for path in folder.iterdir()}

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="labelled batches"):
            Labelled(tmp_path)

    def test_a_run_learns_from_a_folder(self, folder: Path, tmp_path: Path) -> None:
        settings = Settings("verdict", steps=2, labelled=str(folder))
        run = Run(settings, tmp_path / "run", tmp_path)
        learning = [value for value in run.network.parameters() if value.requires_grad]
        before = [value.clone() for value in learning]
        losses = list(run)
        assert [set(one) for one in losses] == [{"verdict"}, {"verdict"}]
        assert not any(torch.equal(one, other) for one, other in zip(before, learning, strict=True))

    def test_a_run_without_a_folder_is_refused(self) -> None:
        with pytest.raises(ValueError, match="labelled"):
            Settings("verdict", steps=2)


class TestBeside:
    def test_trained_weights_get_a_centred_trunk(self, folder: Path, tmp_path: Path) -> None:
        whole = EmbeddedNetwork(seed=4)
        trained = {name: value for name, value in whole.state_dict().items() if not name.startswith("untrained.")}
        save_file(trained, tmp_path / "trained.safetensors")
        found = beside(tmp_path / "trained.safetensors", folder, seed=4)
        for name, value in found.state_dict().items():
            assert torch.equal(value, whole.state_dict()[name]) == (name != "untrained.centre"), name
        assert found.untrained.centre.abs().sum() > 0

    def test_files_that_are_none_are_refused(self, folder: Path, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"there is no file '.*none\.safetensors'"):
            beside(tmp_path / "none.safetensors", folder, seed=0)
        (tmp_path / "broken.safetensors").write_bytes(b"no weights")
        with pytest.raises(ValueError, match="cannot read weights"):
            beside(tmp_path / "broken.safetensors", folder, seed=0)

    def test_weights_that_have_one_and_others_are_refused(self, folder: Path, tmp_path: Path) -> None:
        save_file(EmbeddedNetwork(seed=4).state_dict(), tmp_path / "whole.safetensors")
        with pytest.raises(ValueError, match="has an untrained trunk already"):
            beside(tmp_path / "whole.safetensors", folder, seed=0)
        save_file({"conv.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
        with pytest.raises(ValueError, match="another network's weights"):
            beside(tmp_path / "other.safetensors", folder, seed=0)
