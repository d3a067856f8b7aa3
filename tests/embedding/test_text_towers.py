"""Text towers and tokenizers of the package transformers, with small weights and words of our own."""

import json

import numpy as np
import open_clip
import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from filtering.config.embedding import Embedding
from filtering.embedding.checkpoint import check_loads
from filtering.embedding.demo_clip import MODEL_CONFIG
from filtering.embedding.model import ClipModel

WORDS = ["[PAD]", "[UNK]", "a", "picture", "of", "dog", "cat", "the", "sea"]


@pytest.fixture
def tokenizer(tmp_path):
    """A folder with a tokenizer and the configuration of a small BERT."""
    words = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    folder = tmp_path / "tower"
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    transformers.BertConfig(vocab_size=len(WORDS), **sizes).save_pretrained(folder)
    return str(folder)


def model_of(tmp_path, text):
    """Write the JSON and the random weights of a model whose text tower is given; return its section."""
    path = tmp_path / "own-model.json"
    path.write_text(json.dumps({**json.loads(MODEL_CONFIG.read_text()), **text}))
    open_clip.add_model_config(path)
    torch.manual_seed(0)
    model = open_clip.create_model("own-model", pretrained_text=False)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    return model.eval(), Embedding(model=str(path), pretrained=str(tmp_path / "weights.pt"), device="cpu")


@pytest.mark.parametrize("kind", ["siglip", "hugging face"])
def test_captions_are_embedded_as_open_clip_itself_does(tmp_path, tokenizer, kind):
    own = json.loads(MODEL_CONFIG.read_text())["text_cfg"]
    if kind == "siglip":
        # As open_clip defines SigLIP: its own transformer with the tokenizer of the hub's package, padded by a word.
        given = {"hf_tokenizer_name": tokenizer, "tokenizer_kwargs": {"clean": "canonicalize"}, "no_causal_mask": True}
        text = {"text_cfg": {**own, **given, "vocab_size": len(WORDS), "pool_type": "last"}, "custom_text": True}
    else:
        tower = {"hf_model_name": tokenizer, "hf_tokenizer_name": tokenizer}
        text = {"text_cfg": {**tower, "hf_pooler_type": "mean_pooler", "hf_proj_type": "mlp"}}
    reference, section = model_of(tmp_path, text)
    check_loads(section)
    model, captions = ClipModel(section), ["a picture of the sea", "the dog", "nothing known"]
    tokens = model.preparation.tokens(captions)
    found = model.texts(tokens)
    with torch.inference_mode():
        expected = reference.encode_text(open_clip.get_tokenizer("own-model")(captions), normalize=True).numpy()
    assert np.abs(found - expected).max() < 1e-5
    assert np.linalg.norm(found[0] - found[1]) > 1e-3
