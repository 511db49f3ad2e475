"""CLIP and CLAP of a few thousand random weights, as folders that need no network."""

import json
from pathlib import Path

import torch

from mediakit.encoders.backbones import import_torchvision

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


def write_clip_teacher(folder: Path, seed: int = 0) -> Path:
    """An open_clip model of one layer, with its configuration."""
    import_torchvision()
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    network = open_clip.CLIP(**CLIP)
    told = {"model_cfg": CLIP, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(told))
    save_file(dict(network.state_dict()), folder / "open_clip_model.safetensors")
    return folder


def write_clap_teacher(folder: Path, fusion: bool = True, seed: int = 0) -> Path:
    """A ClapModel of two layers with RoBERTa's tokenizer, letter by letter."""
    import_torchvision()
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, RobertaTokenizerFast

    folder.mkdir(parents=True)
    tokens = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "<mask>",
        "\u0120",
        *"abcdefghijklmnopqrstuvwxyzAT(),.",
    ]  # a blank is \u0120
    (folder / "vocab.json").write_text(json.dumps({token: n for n, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}')
    tokenizer = RobertaTokenizerFast.from_pretrained(folder)
    text = {"vocab_size": len(tokens), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"intermediate_size": 16, "max_position_embeddings": 80, "pad_token_id": 1}
    sound = {"hidden_size": 32, "depths": [1, 1], "num_attention_heads": [2, 2], "patch_embeds_hidden_size": 16}
    sound |= {"num_hidden_layers": 2, "num_classes": 4, "enable_fusion": fusion}
    both = {"projection_dim": 16}
    torch.manual_seed(seed)
    network = ClapModel(ClapConfig(text_config=text | both, audio_config=sound | both, **both))
    network.save_pretrained(folder)
    kind = "fusion" if fusion else "rand_trunc"
    ClapProcessor(ClapFeatureExtractor(truncation=kind), tokenizer).save_pretrained(folder)
    return folder
