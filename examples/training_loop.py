"""Metric and loss in a plain PyTorch loop: a small network learns to undo blur, with L1 plus the perceptual loss.

python examples/training_loop.py      # half a minute on two cores; nothing is downloaded
"""

import skimage.data
import torch
from kornia.filters import gaussian_blur2d
from torch import nn

from torchmetrics_fmiqa import FeatureDistance, FeatureDistanceLoss, feature_distance

photograph = torch.from_numpy(skimage.data.coffee()).permute(2, 0, 1).float() / 255
crops = photograph.unfold(1, 96, 76).unfold(2, 96, 76).permute(1, 2, 0, 3, 4).flatten(0, 1)  # (35, 3, 96, 96)
train, held_out = crops[::2], crops[1::2]

net = nn.Sequential(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.Conv2d(32, 3, 5, padding=2))
nn.init.zeros_(net[-1].weight)  # it starts with the blurred image as it is
optimizer = torch.optim.Adam(net.parameters(), 3e-4)
perceptual = FeatureDistanceLoss(random_shift=True)
metric = FeatureDistance()
for epoch in range(8):
    for target in train.split(3):
        blurred = gaussian_blur2d(target, (9, 9), (1.5, 1.5))
        preds = blurred + net(blurred)
        loss = (preds - target).abs().mean() + perceptual(preds, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        blurred = gaussian_blur2d(held_out, (9, 9), (1.5, 1.5))
        metric.update(blurred + net(blurred), held_out)
    before = feature_distance(blurred, held_out)
    print(f"epoch {epoch}: distance {metric.compute():.4f}, of the blurred crops {before:.4f}")
    metric.reset()
