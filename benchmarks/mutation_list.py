"""The mutations of `benchmarks/mutations.py`: what is broken, and which test files should notice, the likeliest first."""

from __future__ import annotations

from typing import NamedTuple


class Mutation(NamedTuple):
    """One change of the source.

    Args:
        name: what is broken, in words.
        file: within the package.
        old: text that occurs in it; the first occurrence is replaced.
        new: what it is replaced by.
        tests: test files by the middle of their name, ``"loss"`` for ``tests/test_loss.py``.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_CORRIDOR = ("distances", "tiles", "metric", "recipes", "loss", "backbone", "nan", "tap_statistics")
_GRID = ("grid",)
_DISTANCES = ("distances", "graded", "metric")
_ZSIQA = ("zsiqa", "distances")
_FEATURES = ("backbone", "tiles", "weights", "metric", "embedded", "recipes", "families", "loss")
_METRICS = ("metric", "ddp", "agreement", "spips", "nan")
_LOSS = ("loss", "training_loss", "spips")
_MONITOR = ("monitor", "sampling", "cache", "monitor_ddp")
_STATISTICS = ("statistics", "agreement", "outliers", "benchmark_scores")
_SCORING = ("cli", "spips_command", "benchmark_scoring")
_SPIPS = ("spips_head", "spips", "quality_maps", "spips_training")

MUTATIONS = (
    # distances between sets
    Mutation("set distances pool prefix tokens too", "comparator/pooled_features.py", 'return tokens.select("patch").mean(1)', "return tokens.values.mean(1)", ("set_distances",)),
    Mutation("a unit vector is not scaled", "comparator/pooled_features.py", "torch.nn.functional.normalize(sums, dim=1) if self.unit else sums", "sums", ("set_distances",)),
    Mutation("joined moments forget how far means are apart", "distances/frechet.py", "self.scatter.sum(0) + (self.size[:, None] * off).T @ off", "self.scatter.sum(0)", ("set_distances",)),
    Mutation("covariances are divided by N", "distances/frechet.py", "_root(one.scatter / (one.size - 1))", "_root(one.scatter / one.size)", ("set_distances",)),
    Mutation("an image is counted with itself in the unbiased estimate", "distances/kernel.py", "sums(side, side) - equal[side].diag()", "sums(side, side)", ("set_distances",)),
    Mutation("the kernel without a fold keeps its mixed pairs", "distances/kernel.py", "matrix.sum() - matrix.sum(0) - matrix.sum(1) + matrix.diagonal()", "matrix.sum() - 2 * matrix.sum(0) + matrix.diagonal()", ("set_distances",)),
    Mutation("a figure is extrapolated from too few images", "distances/set_figures.py", "IMAGES_A_CHANNEL = 2", "IMAGES_A_CHANNEL = 0", ("set_distances",)),
    Mutation("the jackknife extrapolates the wrong way", "statistics/jackknife.py", "count * float(value) - (count - 1) * mean", "count * mean - (count - 1) * float(value)", ("set_distances",)),
    Mutation("a saved reference of other features is taken", "metrics/set_reference.py", 'if names or given["digest"] != fields["digest"]:', "if False:", ("set_distances",)),
    Mutation("a saved reference is overwritten", "metrics/set_reference.py", "if path.exists() and not overwrite:", "if False:", ("set_distances",)),
    Mutation("few images are not warned of", "distances/set_figures.py", "if count >= FEW:", "if True:", ("set_distances", "compare_sets")),
    # comparator: preparation, the forward pass, sums over tiles
    Mutation("recipes with other backbones share a forward pass", "comparator/comparator.py", "if other.trunk != first.trunk:", "if False:", ("tap_statistics", *_CORRIDOR)),
    Mutation("tile_batch=0 is accepted", "comparator/comparator.py", 'whole_number(tile_batch, "tile_batch", 1)', 'whole_number(tile_batch, "tile_batch", 0)', _CORRIDOR),
    Mutation("lists of images come back in another order", "comparator/comparator.py", "order = sorted(range(len(places)), key=places.__getitem__)", "order = list(range(len(places)))", _CORRIDOR),
    Mutation("lists with a mask lose the mask", "comparator/comparator.py", "None if mask is None else torch.stack([mask[i] for i in group])", "None", _CORRIDOR),
    Mutation("float64 images computed in float32 under auto", "comparator/precision.py", 'return torch.float64 if precision == "auto" and images.dtype == torch.float64 else torch.float32', "return torch.float32", ("loss", "metric", "training_loss")),
    Mutation("precision auto ignores autocast", "comparator/precision.py", 'if precision == "auto" and torch.is_autocast_enabled(device):', "if False:", ("loss", "training_loss", "metric")),
    Mutation("a pickled comparator ignores changed weights", "comparator/comparator.py", "if found != digest:", "if False:", ("backbone", "tap_statistics")),
    Mutation("references are kept under too short a name", "comparator/comparator.py", "scope = (self._scope, dtype, preds.shape[2:], data_limits(data_range), border)", "scope = (self._scope,)", ("cache", "monitor")),
    Mutation("preds are clamped unasked", "comparator/preprocess.py", "if self.recipe.clamp_preds:", "if True:", ("metric", "recipes", "nan", "loss")),
    Mutation("clamp_preds does nothing", "comparator/preprocess.py", "if self.recipe.clamp_preds:", "if False:", ("metric", "recipes", "nan", "loss")),
    Mutation("a tile that is no multiple of the patch is accepted", "comparator/preprocess.py", "self.tile % network.multiple:", "False:", ("tiles", "metric")),
    Mutation("max_side is ignored", "comparator/preprocess.py", "if limit is None or longer <= limit:", "if True:", ("tap_statistics", "metric")),
    Mutation("a mask replaces the weights by information", "comparator/preprocess.py", "return found if mask is None else found * mask", "return found if mask is None else mask", ("information", "metric")),
    Mutation("the target keeps a gradient", "features/image_pairs.py", "with torch.no_grad():\n        target = to_unit(target.detach(), data_range", "with torch.enable_grad():\n        target = to_unit(target, data_range", ("spips", "loss", "metric")),
    Mutation("equal tiles are not exactly 0", "comparator/distance_terms.py", "torch.where(differ.view(-1, *[1] * (values.ndim - 1)), values, 0.0)", "values", ("metric", *_CORRIDOR)),
    Mutation("the input is not normalised", "features/backbone.py", "return (images - mean) / std", "return images", _CORRIDOR),
    Mutation("distances are taken under autocast", "comparator/comparator.py", "with full_precision(preds):", "if True:", ("loss", "metric", "training_loss", "distances")),
    Mutation("an absent prefix token is not an error", "comparator/distance_terms.py", 'if self.tokens == "prefix" and found.prefix == 0:', "if False:", ("recipes", "metric", "families", "backbone")),
    Mutation("values of later portions replace earlier ones", "comparator/accumulator.py", "self.sums[place] = self.sums[place] + weigh.to_images", "self.sums[place] = weigh.to_images", ("metric", "tiles", "recipes")),
    Mutation("the patches of tiles are mixed up", "comparator/accumulator.py", ".view(tiles, count, -1).transpose(0, 1)", ".view(count, tiles, -1)", ("tap_statistics", "spips", "quality_maps")),
    Mutation("tap weights bind by position", "comparator/distance_terms.py", "own = [1.0 if given is None else given[label] for label in labels]", "own = [1.0 if given is None else weight for label, weight in zip(labels, (given or dict.fromkeys(labels)).values())]", ("recipes", "metric")),
    Mutation("tap weights are not normalised", "comparator/distance_terms.py", "tuple(weight / total for weight in own)", "tuple(own)", ("recipes", "metric")),
    Mutation("half tokens are not raised to float32", "comparator/distance_terms.py", "return tokens._replace(values=values.float()) if values.dtype in (torch.float16, torch.bfloat16) else tokens", "return tokens", ("metric", "loss", "distances", "training_loss")),
    Mutation("a distance of the wrong shape is accepted", "comparator/distance_terms.py", "if not isinstance(value, Tensor) or value.shape != (count,):", "if False:", ("distances", "metric")),
    Mutation("the maps leave out the overlap of tiles", "comparator/maps.py", "* self.shares[[tile for _, tile in portion]]", "* 1", ("metric", "tiles", "plots", "cli")),
    Mutation("the maps do not weigh taps", "comparator/maps.py", "painted * self.weights[name][column]", "painted", ("metric", "tiles", "cli")),
    # clips
    Mutation("the change into a clip counts", "comparator/video.py", "of_features.view(count, times)[:, 1:]", "of_features.view(count, times)[:, :-1]", ("video",)),
    Mutation("the last frame of a portion is forgotten", "comparator/video.py", "self._last = [values[-1:] for values in errors_now]", "self._last = [values[:1] for values in errors_now]", ("video",)),
    Mutation("channel weights of a change are dropped", "comparator/video.py", "weights = None if term.channel_weights is None else", "weights = None if True else", ("video",)),
    Mutation("the axes of a clip stay as they are", "comparator/video.py", 'clips.transpose(1, 2) if layout == "BCTHW" else clips', "clips", ("video",)),
    Mutation("changes are shown out of range", "comparator/video.py", "((side.diff(dim=1) + 1) / 2)", "(side.diff(dim=1) / 2)", ("video",)),
    # LPIPS
    Mutation("weights of channels go to taps by their order", "comparator/channel_weights.py", "check_same_taps(\"channel_weights\", weights, names)", "weights = dict(zip(names, weights.values()))", ("lpips", "recipes")),
    Mutation("weights of channels count by their root", "distances/pointwise.py", "squares if weights is None else squares * weights", "squares if weights is None else squares * weights.sqrt()", ("lpips", "distances")),
    Mutation("weights of channels are not in the digest", "recipes/recipe.py", 'fields["channel_weights"] = channel_weights_identity(', 'fields["channel_weights"] = str and (lambda *_: "")(', ("lpips", "recipes")),
    Mutation("LPIPS takes images of another range", "compat.py", "_check_images(preds, target, self.normalize)", "pass", ("compat",)),
    # the monitor in any loop
    Mutation("of samples with one id the last rank's counts", "monitoring/samples.py", "if known is None or (sample.finite and not known.finite):", "if True:", ("quality_monitor", "monitor", "monitor_ddp")),
    Mutation("an id with two references is not told", "monitoring/samples.py", "if known is not None and differ(known.brightness, sample.brightness):", "if False:", ("quality_monitor", "monitor", "monitor_ddp")),
    # grids
    Mutation("a filter of the target counts as a grid", "grid/energy.py", "difference[..., places] - change * here", "difference[..., places]", _GRID),
    Mutation("noise counts as a grid", "grid/energy.py", "excess = residual.energy - residual.beside", "excess = residual.energy", _GRID),
    Mutation("the window changes the amplitude of a grid", "grid/energy.py", "* (2 / side)", "* (1.5 / side)", _GRID),
    Mutation("a frequency of two periods counts twice", "grid/frequencies.py", "if frequency in seen:", "if False:", _GRID),
    Mutation("the conjugates are left out", "grid/frequencies.py", "else 2.0", "else 1.0", _GRID),
    Mutation("a texture's own line counts as a grid", "grid/energy.py", "+ own)", ")", _GRID),
    Mutation("stripes beside a grid's frequency count", "grid/energy.py", "(off - 1).clamp(0, 1)", "(off - 1).clamp(0, 0)", _GRID),
    Mutation("a grid that varies is taken for stripes", "grid/energy.py", "_square(after - before.conj())", "_square(after - before)", _GRID),
    Mutation("rows and columns are mixed up", "grid/frequencies.py", "found[0 if row == 0 else 1 if column == 0 else 2]", "found[1 if row == 0 else 0 if column == 0 else 2]", _GRID),
    Mutation("the root of a grid's energy has an infinite gradient at 0", "grid/meter.py", "torch.where(positive, energy, 1.0).sqrt()", "energy.sqrt()", _GRID),
    Mutation("lists of images have their grids in another order", "grid/meter.py", "[places.argsort()]", "", _GRID),
    Mutation("the alarm comes at each epoch", "metrics/grid_artifact.py", "if self._above and not was_above:", "if self._above:", _GRID),
    Mutation("the alarm names the longest period", "metrics/grid_artifact.py", "if energy >= _MOST * most)", "if period == max(energies))", _GRID),
    Mutation("batches in forward alarm", "metrics/grid_artifact.py", "self._watching = False\n            try", "self._watching = True\n            try", _GRID),
    # distances
    Mutation("l2 sums where it should average", "distances/pointwise.py", "square(), weights).mean(-1)", "square(), weights).sum(-1)", _DISTANCES),
    Mutation("cosine is not halved", "distances/pointwise.py", "return 0.5 * errors(", "return errors(", _DISTANCES),
    Mutation("angular in whole turns", "distances/pointwise.py", "* (2 / math.pi)", "* (1 / math.pi)", _DISTANCES),
    Mutation("a token without length has an infinite gradient", "distances/pointwise.py", "torch.where(long, squares, 1.0).rsqrt()", "squares.rsqrt()", ("distances", "loss")),
    Mutation("the root at zero has an infinite gradient", "distances/pointwise.py", "torch.where(positive, squares, 1.0).sqrt()", "squares.sqrt()", ("distances", "loss")),
    Mutation("Jensen-Shannon in half the size", "distances/divergence.py", "return 0.25 * both * (", "return 0.125 * both * (", _DISTANCES),
    Mutation("symmetric KL is one-sided", "distances/divergence.py", "return 0.5 * (p - q) * (", "return 0.5 * p * (", _DISTANCES),
    Mutation("a side of Jensen-Shannon is left out", "distances/divergence.py", " + (1 - ratio) * (-ratio).log1p())", ")", _DISTANCES),
    Mutation("totals of parts are added as they are", "distances/divergence.py", "self.total * (self.top - top).exp() +", "self.total +", ("divergence_maps",)),
    Mutation("a joint distance forgets its weights", "distances/joint.py", "weight * value for value, weight in", "value for value, _ in", ("joint",)),
    Mutation("the slope of the geometric mean is infinite at 0", "distances/joint.py", "torch.log1p(value / _LEAST)", "torch.log(value / _LEAST)", ("joint",)),
    Mutation("Wasserstein does not sort", "distances/transport.py", "tokens.transpose(1, 2).sort(-1).values", "tokens.transpose(1, 2)", _DISTANCES),
    Mutation("the directions are not of unit length", "distances/transport.py", "return draw / draw.square().sum(0).sqrt()", "return draw", _DISTANCES),
    Mutation("the directions follow the global seed", "distances/transport.py", 'generator=torch.Generator("cpu").manual_seed(_SEED), ', "", _DISTANCES),
    Mutation("the published cosine runs over channels", "distances/zsiqa.py", "if preds.is_map:", "if False:", _ZSIQA),
    Mutation("the published transport counts the last place", "distances/zsiqa.py", "(one - other)[:, :-1].abs()", "(one - other).abs()", _ZSIQA),
    Mutation("the published padding is at the other end", "distances/zsiqa.py", "F.pad(stack, (cols, 0, 0, rows))", "F.pad(stack, (0, cols, 0, rows))", _ZSIQA),
    # features
    Mutation("prefix tokens count as patches", "features/tokens.py", "return self.values[:, self.prefix :]", "return self.values", _FEATURES),
    Mutation("the grid of patches is transposed", "features/tokens.py", "grid = (height // patch[0], width // patch[1])", "grid = (width // patch[0], height // patch[1])", ("tap_statistics", *_FEATURES)),
    Mutation("overlapping tiles count twice", "features/tiles.py", "[1 / cover[pixel] for pixel", "[1.0 for pixel", ("tiles", "metric")),
    Mutation("the mirror repeats its edge", "features/tiles.py", "return torch.minimum(index, period - index)", "return torch.minimum(index, (period + 1 - index) % length)", ("tiles", "metric")),
    Mutation("tiles are one pixel off", "features/tiles.py", "return tuple(round(i * (length - tile) / (count - 1)) for i in range(count))", "return tuple(max(0, round(i * (length - tile) / (count - 1)) - 1) for i in range(count))", ("tiles", "metric")),
    Mutation("published windows overlap by another stride", "features/tiles.py", "stride: int = 200", "stride: int = 192", ("tiles", "zsiqa")),
    Mutation("a mask is not divided by its sum", "features/tiles.py", "(rows @ tiles @ cols.T).flatten(1) / totals[:, None]", "(rows @ tiles @ cols.T).flatten(1)", ("tiles", "metric")),
    Mutation("uint16 has the range of uint8", "features/image_checks.py", "torch.uint16: 65535.0", "torch.uint16: 255.0", ("metric", "nan", "cli", "recipes")),
    Mutation("a range that starts below 0 is not shifted", "features/image_checks.py", "(images - low) / (high - low)", "images / (high - low)", ("metric", "loss", "recipes")),
    Mutation("a target outside its range is accepted", "features/image_checks.py", "if target_low < -slack or target_high > 1 + slack:", "if False:", ("metric", "loss", "nan")),
    Mutation("preds in another unit are accepted", "features/image_checks.py", "> WRONG_UNIT:", "> 1e9:", ("metric", "loss", "nan")),
    Mutation("NaN in preds is accepted", "features/image_checks.py", 'if not (abs(least) < float("inf") and abs(most) < float("inf")):', "if False:", ("nan", "metric", "loss")),
    Mutation("crop_border cuts one side only", "features/image_checks.py", "border : width - border]", "border:]", ("metric", "recipes", "loss", "cli")),
    Mutation("an empty mask is accepted", "features/image_checks.py", "if empty:", "if False:", ("metric", "tiles", "nan", "loss")),
    Mutation("information counts even places as nothing", "comparator/preprocess.py", "_LEAST = 0.5", "_LEAST = 0.0", ("information", "embedded_recipe", "metric")),
    Mutation("a map changes its mean when stretched", "features/tiles.py", "return rows.T @ values @ cols", "return rows.T @ values @ cols * 1.01", ("recipes", "metric", "tiles", "quality_maps")),
    Mutation("a repeated tap is accepted", "features/network.py", "if repeated:", "if False:", ("backbone", "recipes")),
    Mutation("taps that a later layer overwrites are not copied", "features/backbone.py", "if not overwritten:", "if True:", ("overwritten_taps", "backbone")),
    Mutation("the frozen network asks for gradients", "features/builders.py", "net.eval().requires_grad_(False)", "net.eval()", ("backbone", "loss", "metric")),
    Mutation("the frozen network stays in training mode", "features/builders.py", "net.eval().requires_grad_(False)", "net.requires_grad_(False)", ("backbone", "families", "loss", "metric")),
    Mutation("a user's network is shared, not copied", "features/builders.py", "_freeze(copy.deepcopy(module).cpu())", "_freeze(module)", ("backbone", "metric", "loss")),
    Mutation("random weights change the global seed", "features/building.py", 'return overload(*args, **{**kwargs, "generator": self._generator(device)})', "return func(*args, **kwargs)", ("backbone", "weights", "recipes", "random*", "building*", "threads*")),
    Mutation("the cache takes more than its budget", "features/reference_cache.py", "if self.size + size > self.budget:", "if False:", ("cache", "monitor")),
    Mutation("the cache finds tiles of any content", "features/reference_cache.py", "pixels = tile.detach().cpu().flatten().numpy()", "pixels = tile.detach().cpu().flatten().numpy()[:1].copy()", ("cache", "monitor")),
    Mutation("the embedded network sees zeros beyond the edge", "features/embedded.py", 'mode="replicate"', 'mode="constant"', ("embedded", "embedded_recipe")),
    Mutation("the embedded network has no threshold", "features/embedded.py", "F.relu(self.convolve(values), inplace=True)", "self.convolve(values)", ("embedded", "embedded_recipe")),
    # metrics
    Mutation("the digest leaves out the data range", "metrics/image_pair_metric.py", 'images = f"{data_limits(self.data_range)}|{self.crop_border}', 'images = f"{self.crop_border}', ("metric", "ddp")),
    Mutation("a repeated sample counts twice", "metrics/image_pair_metric.py", "new[1:] = ordered[1:] != ordered[:-1]", "pass", ("metric", "ddp")),
    Mutation("a failed update leaves the state changed", "metrics/synced_state.py", "for name, value in state.items():\n", "for name, value in {}.items():\n", ("metric", "nan")),
    Mutation("the mean is a sum", "metrics/image_pair_metric.py", 'if self.reduction == "mean":', "if False:", ("metric", "ddp")),
    Mutation("ids that come twice in a batch are not told", "metrics/image_pair_metric.py", "if ids is not None and len(ids.unique()) < len(ids):", "if False:", ("metric",)),
    Mutation("sums shrink to half precision", "metrics/synced_state.py", "super()._apply(fn, exclude_state=[*self._defaults, *exclude_state])", "return super()._apply(fn, exclude_state=exclude_state)", ("metric", "agreement")),
    Mutation("an empty rank gathers the wrong dtype", "metrics/synced_state.py", "setattr(self, name, [self._empty(name)])", "pass", ("ddp", "agreement", "metric")),
    Mutation("negative ids are accepted", "metrics/synced_state.py", "if count and int(numbers.min()) < 0:", "if False:", ("metric", "agreement")),
    Mutation("images with NaN are left out without a warning", "metrics/image_pair_metric.py", 'if nan_strategy == "warn":', "if False:", ("nan", "metric")),
    Mutation("members with other ranges share a forward pass", "metrics/collection.py", "images = (data_limits(metric.data_range), metric.crop_border, metric.validate)", "images = ()", ("metric", "spips", "nan")),
    Mutation("opinions for some images only are accepted", "metrics/human_agreement.py", "if 0 < missing < len(ids):", "if False:", ("agreement",)),
    Mutation("per_layer takes the taps in reverse", "comparator/distance_terms.py", "enumerate(labels.get(name, joint))", "enumerate(reversed(labels.get(name, joint)))", ("metric", "recipes")),
    # losses
    Mutation("the loss shifts in evaluation mode", "losses.py", "if self.training and self.random_shift:", "if self.random_shift:", _LOSS),
    Mutation("the loss never shifts", "losses.py", "if self.training and self.random_shift:", "if False:", _LOSS),
    Mutation("the loss shifts only preds", "losses.py", "preds, target = _shifted(preds, shift), _shifted(target, shift)", "preds = _shifted(preds, shift)", _LOSS),
    Mutation("the loss with a mask does not shift it", "losses.py", "mask = None if mask is None else _shifted(mask, shift)", "pass", _LOSS),
    Mutation("the loss does not crop", "losses.py", "preds, target = crop(preds, self.crop_border), crop(target, self.crop_border)", "pass", ("spips", *_LOSS)),
    Mutation("a loss of two distances is accepted", "losses.py", "if len(self.recipe.results) != 1:", "if False:", _LOSS),
    # callbacks
    Mutation("padded samples count", "callbacks/distributed_samples.py", "max(0, min(count, self.real - first))", "count", ("sampling", "monitor_ddp", "monitor")),
    Mutation("a sample's index starts anew each batch", "callbacks/distributed_samples.py", "return list(range(first, first + count))", "return list(range(count))", _MONITOR),
    Mutation("the best images are shown for the worst", "monitoring/worst_images.py", "self.sign = -1.0 if higher_is_better else 1.0", "self.sign = 1.0 if higher_is_better else -1.0", _MONITOR),
    Mutation("of equal scores the later stays", "monitoring/worst_images.py", "badness <= self._heap[0][0]", "badness < self._heap[0][0]", _MONITOR),
    Mutation("a monitor starts in the wrong epochs", "callbacks/monitor.py", "(trainer.current_epoch + 1) % self.every_n_epochs == 0", "trainer.current_epoch % self.every_n_epochs == 0", _MONITOR),
    Mutation("the best value is the last", "callbacks/monitor.py", "number > best if self._higher[name] else number < best", "True", _MONITOR),
    Mutation("the sanity check does not look for images", "callbacks/monitor.py", "if trainer.sanity_checking and stage in self.stages:", "if trainer.sanity_checking:\n            return\n        if False:", ("monitor*",)),
    Mutation("predict leaves the module in evaluation mode", "callbacks/image_sources.py", "part.training = training", "pass", _MONITOR),
    Mutation("the batch goes before the outputs", "callbacks/image_sources.py", "for mapping in (outputs, batch) if isinstance", "for mapping in (batch, outputs) if isinstance", _MONITOR),
    Mutation("share_outside counts samples", "monitoring/evaluation.py", "size=preds.numel())", "size=len(preds))", _MONITOR),
    # monitoring
    Mutation("ids count on each rank", "monitoring/evaluation.py", "if owners[label] == rank", "if True", ("quality_monitor",)),
    Mutation("a repeated id counts again", "monitoring/evaluation.py", "if label not in seen and not (known and known.finite):", "if True:", ("quality_monitor",)),
    Mutation("a repeated id is shown again", "monitoring/worst_images.py", "if once is None or shown[once] == rank", "if True", ("quality_monitor",)),
    Mutation("one id for two references is not told", "monitoring/samples.py", "> _SAME_MEAN", "> 1", ("quality_monitor",)),
    Mutation("any number has an interval", "monitoring/report.py", "or not np.isclose(values.mean()", "or not np.isclose(self.numbers[name]", ("quality_monitor",)),
    Mutation("a second report replaces the first", "monitoring/report_logging.py", "run += 1", "return run", ("report_logging",)),
    # statistics
    Mutation("PLCC ranks its scores", "statistics/correlation.py", "stats.pearsonr(x, y)", "stats.spearmanr(x, y)", _STATISTICS),
    Mutation("two distinct values correlate", "statistics/inputs.py", "FEWEST = 3", "FEWEST = 2", _STATISTICS),
    Mutation("ties have no mean rank in resamples", "statistics/bootstrap.py", "ranks -= 0.5 * tied", "pass", _STATISTICS),
    Mutation("an interval of 95 % is one of 90 %", "statistics/bootstrap.py", "[(1 - level) / 2, (1 + level) / 2]", "[1 - level, level]", _STATISTICS),
    Mutation("a resample draws too few references", "statistics/bootstrap.py", "generator.multinomial(count, chances", "generator.multinomial(count - 1, chances", _STATISTICS),
    Mutation("Holm corrects as if there were one test", "statistics/significance.py", "* np.arange(len(order), 0, -1)", "* 1", _STATISTICS),
    Mutation("Steiger forgets the shared variable", "statistics/significance.py", "spread = max(2 - 2 * shared", "spread = max(2 - 0 * shared", _STATISTICS),
    Mutation("outliers are beyond one deviation", "statistics/outliers.py", '"|residual| > 2 standard deviations of the residuals", 2.0', '"|residual| > 2 standard deviations of the residuals", 1.0', _STATISTICS),
    Mutation("equal distances choose the first", "statistics/preference.py", "np.where(second < first, share, 0.5)", "np.where(second < first, share, 1 - share)", _STATISTICS),
    Mutation("precision is left jagged", "statistics/preference.py", "np.maximum.accumulate((hits / seen)[::-1])[::-1]", "hits / seen", _STATISTICS),
    Mutation("a direction is not turned", "statistics/direction.py", "return np.where(flags, 1.0, -1.0)", "return np.where(flags, 1.0, 1.0)", _STATISTICS),
    Mutation("the curve of 5 parameters may turn around", "statistics/logistic.py", "if is_monotone(free.parameters(*best), u):", "if True:", _STATISTICS),
    Mutation("the fit is not in the opinion's units", "statistics/logistic.py", "fitted = logistic_curve(u, curve) * scale_y + y.mean()", "fitted = logistic_curve(u, curve) * scale_y", _STATISTICS),
    Mutation("the worst type is the best", "statistics/summary.py", "worst_type=min(known", "worst_type=max(known", _STATISTICS),
    # scoring, pooling and SPIPS
    Mutation("a pair that fails takes its group along", "scoring/batches.py", "if table is None and len(group) > 1:  #", "if False:  #", ("memory", *_SCORING)),
    Mutation("scores come with another pair's name", "scoring/batches.py", "for loaded, row in zip(group, table, strict=True):", "for loaded, row in zip(reversed(group), table, strict=True):", _SCORING),
    Mutation("the columns of several distances swap", "scoring/scorers.py", "scores = list(measured.scores().values())", "scores = list(measured.scores().values())[::-1]", _SCORING),
    Mutation("the border of a pair is ignored", "scoring/scorers.py", "self._comparator(preds, target, crop_border=crop_border)", "self._comparator(preds, target)", _SCORING),
    Mutation("two shards share a pair", "scoring/shards.py", "(self.index + 1) * total // self.count)", "(self.index + 1) * total // self.count + 1)", ("score_parts",)),
    Mutation("a second start scores all again", "scoring/score_parts.py", "todo = share[~parts.done(keys_of(source.names))[share]]", "todo = share", ("score_parts",)),
    Mutation("an interrupted part is lost", "scoring/score_parts.py", "            if results:", "            if False:", ("score_parts",)),
    Mutation("a retried row stays beside the new one", "scoring/score_parts.py", 'kept = part.filter(compute.equal(part.column("reason"), ""))', "kept = part", ("score_parts",)),
    Mutation("parts of other inputs are taken", "scoring/parts.py", 'if note.get("inputs") != self.digest:', "if False:", ("score_parts",)),
    Mutation("retried pairs go into another part", "scoring/score_parts.py", "if len(found[path]) == len(failed[path]):", "if True:", ("score_parts",)),
    Mutation("a worker's signals end it with the run", "scoring/workers.py", "before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})", "before = signal.pthread_sigmask(signal.SIG_BLOCK, set())", ("score_workers",)),
    Mutation("a dead worker is waited for", "scoring/workers.py", "                there.close()  #", "                pass  #", ("score_workers",)),
    Mutation("an image that tasks of Ray cannot read ends the run", "scoring/ray.py", "Scored(pair, {}, error=error) if error else ", "", ("score_ray",)),
    Mutation("a URL in a table counts from its folder", "data/remote.py", "return place if isinstance(place, str) else Path(folder) / place", 'return f"{folder}/{name}"', ("score_inputs",)),
    Mutation("scores are written to a URL", "cli/score_folder.py", "if out is not None and is_url(out):", "if False:", ("score_inputs",)),
    Mutation("predictions are scored twice", "callbacks/pair_score_writer.py", "if row[0] not in self._done", "if True", ("pair_score_writer",)),
    Mutation("the 95th percentile is the 90th", "comparator/pooling.py", "_PERCENT = 95", "_PERCENT = 90", ("tap_statistics", "quality_maps", "spips")),
    Mutation("the spread of a map is its variance", "comparator/pooling.py", "spread = _root(_mean((values - centre[:, None]).square(), weights))", "spread = _mean((values - centre[:, None]).square(), weights)", ("tap_statistics", "quality_maps", "spips")),
    Mutation("an anchored head is not 0 for equal images", "spips_model/fusion_head.py", "return F.softplus(score) * -torch.expm1(", "return F.softplus(score) * torch.exp(", _SPIPS),
    Mutation("a head for another recipe is accepted", "spips_model/scorer.py", "if head.made_for != recipe.digest:", "if False:", ("spips", "spips_training", "spips_head")),
    Mutation("choices count for the other image", "fitting/losses.py", "with_logits(first - second", "with_logits(second - first", _SPIPS),
)
