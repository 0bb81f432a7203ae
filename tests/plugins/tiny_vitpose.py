"""Tiny ViTPose and RT-DETR folders of the real classes, written by `save_pretrained`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
)

JOINTS = 17


def random_vitpose(folder: Path, labels: int = JOINTS, experts: int = 1) -> Path:
    """Random weights."""
    torch.manual_seed(0)
    _network(labels, experts).save_pretrained(folder)
    return folder


def colour_vitpose(folder: Path) -> Path:
    """Weights set by hand: joint j's heatmap is high where the picture is red (j = 0, 3, ...), green or blue, about 1
    for the pure colour and 0 for black."""
    torch.manual_seed(0)
    model = _network(JOINTS, 1)
    with torch.no_grad():
        for layer in model.backbone.encoder.layer:
            for part in (layer.attention.output.dense, layer.mlp.fc2):
                part.weight.zero_()
                part.bias.zero_()
        model.backbone.embeddings.position_embeddings.zero_()
        projection, norm, head = (
            model.backbone.embeddings.patch_embeddings.projection,
            model.backbone.layernorm,
            model.head,
        )
        projection.weight.zero_()
        # what normalisation makes of black is brought back to 0; the last number keeps the layer norm from growing
        projection.bias.copy_(torch.tensor([0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225, 40.0]))
        for colour in range(3):
            projection.weight[colour, colour] = 1 / 64
        norm.bias.fill_(1.0)
        head.conv.weight.zero_()
        head.conv.bias.zero_()
        for joint in range(JOINTS):
            head.conv.weight[joint, joint % 3, 1, 1] = 1.0
        black = torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]).reshape(1, 3, 1, 1)
        red = black.clone()
        red[0, 0] = (1 - 0.485) / 0.229
        low, high = (model(picture.expand(1, 3, 256, 192)).heatmaps[0, 0, 64, 48] for picture in (black, red))
        head.conv.weight /= high - low
        head.conv.bias.fill_(-float(low / (high - low)))
    model.save_pretrained(folder)
    return folder


def _network(labels: int, experts: int) -> Any:
    backbone = VitPoseBackboneConfig(
        image_size=[256, 192],
        patch_size=[8, 8],
        hidden_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_experts=experts,
        part_features=2,
        out_indices=[1],
    )
    return VitPoseForPoseEstimation(VitPoseConfig(backbone_config=backbone, num_labels=labels)).eval()


def random_detector(folder: Path, names: tuple[str, ...] = ("person", "bicycle")) -> Path:
    """Random weights."""
    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 16, 16],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=12,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    RTDetrForObjectDetection(config).eval().save_pretrained(folder)
    return folder
