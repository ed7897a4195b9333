"""Tiny random checkpoints of the families that people serve, with a byte-level tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

VOCABULARY = 264
END = 256


def _llama() -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(**_SIZES, num_key_value_heads=2)


def _gpt2() -> Any:
    from transformers import GPT2Config

    return GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=256)


def _mixtral() -> Any:
    from transformers import MixtralConfig

    return MixtralConfig(
        **_SIZES, num_experts_per_tok=2, num_key_value_heads=2, num_local_experts=4
    )


def _qwen3_5_moe() -> Any:
    from transformers import Qwen3_5MoeTextConfig

    return Qwen3_5MoeTextConfig(
        **_SIZES,
        **_EXPERTS,
        num_key_value_heads=2,
        head_dim=16,
        num_experts=4,
        shared_expert_intermediate_size=16,
        layer_types=["linear_attention", "full_attention"],
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
    )


def _deepseek_v3() -> Any:
    from transformers import DeepseekV3Config

    return DeepseekV3Config(
        **_SIZES,
        **_EXPERTS,
        num_key_value_heads=4,
        n_routed_experts=4,
        n_group=2,
        topk_group=1,
        first_k_dense_replace=1,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
    )


def _glm4_moe() -> Any:
    from transformers import Glm4MoeConfig

    return Glm4MoeConfig(
        **_SIZES,
        **_EXPERTS,
        num_key_value_heads=2,
        head_dim=8,
        n_routed_experts=4,
        first_k_dense_replace=1,
    )


def _minimax_m2() -> Any:
    from transformers import MiniMaxM2Config

    return MiniMaxM2Config(
        **_SIZES, num_experts_per_tok=2, num_key_value_heads=2, head_dim=8, num_local_experts=4
    )


def _gpt_oss() -> Any:
    from transformers import GptOssConfig

    return GptOssConfig(
        **_SIZES,
        num_experts_per_tok=2,
        num_key_value_heads=2,
        head_dim=8,
        num_local_experts=4,
        sliding_window=8,
    )


def _nemotron_h() -> Any:
    from transformers import NemotronHConfig

    return NemotronHConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=32,
        layers_block_type=["mamba", "moe", "attention", "moe"],
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        mamba_num_heads=4,
        mamba_head_dim=16,
        ssm_state_size=16,
        n_groups=1,
        conv_kernel=4,
        n_routed_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        moe_shared_expert_intermediate_size=16,
        max_position_embeddings=256,
    )


_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
_EXPERTS: dict[str, Any] = {"moe_intermediate_size": 16, "num_experts_per_tok": 2}

FAMILIES: dict[str, Callable[[], Any]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "mixtral": _mixtral,
    "qwen3_5_moe": _qwen3_5_moe,
    "deepseek_v3": _deepseek_v3,  # Kimi K2 as well
    "glm4_moe": _glm4_moe,
    "minimax_m2": _minimax_m2,
    "gpt_oss": _gpt_oss,
    "nemotron_h": _nemotron_h,
}


def _qwen3() -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(**_SIZES, num_key_value_heads=2, head_dim=8)


def _mistral() -> Any:
    from transformers import MistralConfig

    return MistralConfig(**_SIZES, num_key_value_heads=2, sliding_window=4)


def _llama4() -> Any:
    """Without experts: its routers do not say what they choose."""
    from transformers import Llama4TextConfig

    return Llama4TextConfig(
        **_SIZES,
        num_key_value_heads=2,
        head_dim=8,
        intermediate_size_mlp=48,
        moe_layers=[],
        attention_chunk_size=32,
    )


def _gpt_neo() -> Any:
    from transformers import GPTNeoConfig

    return GPTNeoConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=32,
        max_position_embeddings=256,
    )


def _gemma() -> Any:
    from transformers import GemmaConfig

    return GemmaConfig(**_SIZES, num_key_value_heads=2, head_dim=8)


_OTHERS: dict[str, Callable[[], Any]] = {
    "gemma": _gemma,
    "qwen3": _qwen3,
    "mistral": _mistral,
    "llama4": _llama4,
    "gpt_neo": _gpt_neo,
}


def make_config(name: str) -> Any:
    config = FAMILIES[name]() if name in FAMILIES else _OTHERS[name]()
    config.eos_token_id = config.bos_token_id = config.pad_token_id = END
    return config


def make_family(name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write a random model of that family to ``folder``, with its tokenizer."""
    return write_family(make_config(name), folder, dtype)


def write_family(config: Any, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write a random model with weights large enough that each of its parts matters."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim >= 2:
                weight.normal_(std=0.15)
    model.to(dtype).save_pretrained(folder)
    make_tokenizer(folder)
    return folder


def make_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as Decoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import PreTrainedTokenizerFast

    letters = {letter: n for n, letter in enumerate(sorted(ByteLevel.alphabet()))}
    inner: Any = Tokenizer(BPE(vocab=letters, merges=[]))
    inner.pre_tokenizer = ByteLevel(add_prefix_space=False)
    inner.decoder = Decoder()
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=inner)
    tokenizer.add_special_tokens({"eos_token": "<|endoftext|>"})
    assert tokenizer.eos_token_id == END
    tokenizer.save_pretrained(folder)
