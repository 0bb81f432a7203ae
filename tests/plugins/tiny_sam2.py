"""A SAM 2 video model with tiny random weights: pictures of 64x64, masks of 16x16, few memories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VideoModel, Sam2VisionConfig

SIDE = 64
WIDTH, MEMORY = 128, 64  # the memory's width is written down in transformers, and must be less than the features'
MEMORIES, POINTERS = 3, 4


def write_sam2(folder: Path) -> Path:
    """The folder that `save_pretrained` makes. The model is always sure that the object is there."""
    torch.manual_seed(0)
    hiera = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[SIDE, SIDE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[4, 4, 2, 2],
        window_positional_embedding_background_size=[2, 2],
        global_attention_blocks=[3],
    )
    vision = Sam2VisionConfig(
        backbone_config=hiera,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
        fpn_hidden_size=WIDTH,
    )
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config={"hidden_size": WIDTH, "image_size": SIDE, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": WIDTH, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
        image_size=SIDE,
        num_maskmem=MEMORIES,
        max_object_pointers_in_encoder=POINTERS,
        memory_attention_hidden_size=WIDTH,
        memory_attention_num_layers=1,
        memory_attention_feed_forward_hidden_size=32,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_encoder_hidden_size=WIDTH,
        memory_encoder_output_channels=MEMORY,
        mask_downsampler_embed_dim=WIDTH,
        memory_fuser_embed_dim=WIDTH,
        memory_fuser_intermediate_dim=32,
    )
    model: Any = Sam2VideoModel(config)
    with torch.no_grad():
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(10.0)
        for weight in (*model.mask_decoder.parameters(), *model.memory_attention.parameters()):
            if weight.ndim > 1:
                weight.mul_(4)  # random weights this small answer anything alike
    model.save_pretrained(folder)
    return folder
