"""Roles, on the names that real checkpoints have."""

import pytest

from deepscope.subject._role import role_of

BERT = {
    "embeddings.position_ids": ((1, 512), "buffer"),
    "embeddings.word_embeddings.weight": ((30522, 384), "embedding"),
    "bert.embeddings.position_embeddings.weight": ((512, 384), "embedding"),
    "embeddings.token_type_embeddings.weight": ((2, 384), "embedding"),
    "embeddings.LayerNorm.weight": ((384,), "norm"),
    "embeddings.LayerNorm.bias": ((384,), "bias"),
    "encoder.layer.0.attention.self.query.weight": ((384, 384), "attention"),
    "encoder.layer.0.attention.self.query.bias": ((384,), "bias"),
    "encoder.layer.0.attention.self.key.weight": ((384, 384), "attention"),
    "encoder.layer.0.attention.output.dense.weight": ((384, 384), "attention"),
    "encoder.layer.0.attention.output.LayerNorm.weight": ((384,), "norm"),
    "encoder.layer.0.intermediate.dense.weight": ((1536, 384), "linear"),
    "encoder.layer.0.output.dense.weight": ((384, 1536), "linear"),
    "encoder.layer.0.output.LayerNorm.gamma": ((384,), "norm"),
    "encoder.layer.0.output.LayerNorm.beta": ((384,), "bias"),
    "pooler.dense.weight": ((384, 384), "linear"),
    "cls.predictions.bias": ((30522,), "bias"),
    "encoder.embedding_hidden_mapping_in.weight": ((768, 128), "linear"),
}
GPT2 = {
    "wte.weight": ((50257, 768), "embedding"),
    "transformer.wpe.weight": ((1024, 768), "embedding"),
    "h.0.attn.bias": ((1, 1, 1024, 1024), "buffer"),
    "h.0.attn.masked_bias": ((), "buffer"),
    "h.0.attn.c_attn.weight": ((768, 2304), "attention"),
    "h.0.attn.c_attn.bias": ((2304,), "bias"),
    "h.0.attn.c_proj.weight": ((768, 768), "attention"),
    "h.0.mlp.c_fc.weight": ((768, 3072), "linear"),
    "h.0.mlp.c_proj.weight": ((3072, 768), "linear"),
    "h.0.ln_1.weight": ((768,), "norm"),
    "ln_f.weight": ((768,), "norm"),
    "lm_head.weight": ((50257, 768), "linear"),
}
LLAMA = {
    "model.embed_tokens.weight": ((32000, 4096), "embedding"),
    "model.layers.0.self_attn.q_proj.weight": ((4096, 4096), "attention"),
    "model.layers.0.self_attn.o_proj.weight": ((4096, 4096), "attention"),
    "model.layers.0.self_attn.q_norm.weight": ((128,), "norm"),
    "model.layers.0.self_attn.rotary_emb.inv_freq": ((64,), "buffer"),
    "model.layers.0.mlp.gate_proj.weight": ((11008, 4096), "linear"),
    "model.layers.0.mlp.down_proj.weight": ((4096, 11008), "linear"),
    "model.layers.0.input_layernorm.weight": ((4096,), "norm"),
    "model.norm.weight": ((4096,), "norm"),
    "layers.0.attention.wq.weight": ((4096, 4096), "attention"),
    "layers.0.attention_norm.weight": ((4096,), "norm"),
    "layers.0.feed_forward.w1.weight": ((11008, 4096), "linear"),
    "tok_embeddings.weight": ((32000, 4096), "embedding"),
    "output.weight": ((32000, 4096), "linear"),
}
MOE = {
    "model.layers.0.block_sparse_moe.gate.weight": ((8, 4096), "linear"),
    "model.layers.0.block_sparse_moe.experts.0.w1.weight": ((14336, 4096), "linear"),
    "model.layers.0.mlp.experts.17.gate_proj.weight": ((1408, 2048), "linear"),
    "model.layers.0.mlp.experts.gate_up_proj": ((128, 2880, 5760), "other"),
    "model.layers.0.mlp.experts.gate_up_proj_bias": ((128, 5760), "bias"),
    "model.layers.0.mlp.shared_experts.up_proj.weight": ((2816, 2048), "linear"),
    "model.layers.0.self_attn.kv_a_proj_with_mqa.weight": ((576, 2048), "attention"),
    "model.layers.0.self_attn.kv_a_layernorm.weight": ((512,), "norm"),
    "model.layers.0.mlp.gate_proj.weight_scale_inv": ((88, 56), "buffer"),
}
VIT = {
    "cls_token": ((1, 1, 192), "embedding"),
    "pos_embed": ((1, 197, 192), "embedding"),
    "patch_embed.proj.weight": ((192, 3, 16, 16), "convolution"),
    "patch_embed.proj.bias": ((192,), "bias"),
    "blocks.0.norm1.weight": ((192,), "norm"),
    "blocks.0.attn.qkv.weight": ((576, 192), "attention"),
    "blocks.0.attn.proj.weight": ((192, 192), "attention"),
    "blocks.0.ls1.gamma": ((192,), "other"),
    "blocks.0.mlp.fc1.weight": ((768, 192), "linear"),
    "head.weight": ((1000, 192), "linear"),
    "vit.embeddings.patch_embeddings.projection.weight": ((192, 3, 16, 16), "convolution"),
    "layers.0.blocks.0.attn.relative_position_bias_table": ((169, 3), "embedding"),
    "layers.0.blocks.0.attn.relative_position_index": ((49, 49), "buffer"),
    "logit_scale": ((), "other"),
}
RESNET = {
    "conv1.weight": ((64, 3, 7, 7), "convolution"),
    "bn1.weight": ((64,), "norm"),
    "bn1.bias": ((64,), "bias"),
    "bn1.running_mean": ((64,), "buffer"),
    "bn1.running_var": ((64,), "buffer"),
    "bn1.num_batches_tracked": ((), "buffer"),
    "layer1.0.downsample.0.weight": ((256, 64, 1, 1), "convolution"),
    "layer1.0.downsample.1.weight": ((256,), "norm"),
    "module.fc.weight": ((1000, 512), "linear"),
    "stem.conv3d.weight": ((8, 3, 3, 3, 3), "convolution"),
    "encoder.prelu.weight": ((1,), "other"),
}
RECURRENT = {
    "lstm.weight_ih_l0": ((40, 10), "recurrent"),
    "lstm.weight_hh_l0": ((40, 10), "recurrent"),
    "lstm.weight_hh_l1_reverse": ((40, 10), "recurrent"),
    "lstm.bias_ih_l0": ((40,), "bias"),
    "cell.weight_hh": ((40, 10), "recurrent"),
    "gru.0.linear.weight": ((30, 10), "recurrent"),
}
LORA = {
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": ((8, 4096), "attention"),
    "base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight": ((4096, 8), "attention"),
    "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight": ((8, 4096), "linear"),
    "base_model.model.model.embed_tokens.lora_embedding_A": ((8, 32000), "embedding"),
    "base_model.model.model.layers.0.mlp.up_proj.lora_magnitude_vector": ((11008,), "other"),
}
OTHERS = {
    "self_attn.in_proj_weight": ((192, 64), "attention"),
    "self_attn.in_proj_bias": ((192,), "bias"),
    "self_attn.out_proj.weight": ((64, 64), "attention"),
    "shared.weight": ((32128, 512), "embedding"),
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": ((32, 8), "embedding"),
    "encoder.block.0.layer.0.SelfAttention.q.weight": ((512, 512), "attention"),
    "encoder.block.0.layer.0.layer_norm.weight": ((512,), "norm"),
    "encoder.block.0.layer.1.DenseReluDense.wi.weight": ((2048, 512), "linear"),
    "backbone.layers.0.mixer.in_proj.weight": ((3072, 768), "linear"),
    "backbone.layers.0.mixer.conv1d.weight": ((1536, 1, 4), "convolution"),
    "backbone.layers.0.mixer.A_log": ((1536, 16), "linear"),
    "feature_extractor.conv_layers.0.conv.weight": ((512, 1, 10), "convolution"),
    "time_embedding.linear_1.weight": ((1280, 320), "linear"),
    "params/Dense_0/kernel": ((784, 128), "linear"),
    "params/LayerNorm_0/scale": ((128,), "norm"),
    "params/Embed_0/embedding": ((100, 128), "embedding"),
    "params/Dense_0/bias": ((128,), "bias"),
    "0.weight": ((4, 3), "linear"),
    "weight": ((4, 3), "linear"),
    "bias": ((4,), "bias"),
    "": ((4, 3), "linear"),
    "x": ((), "other"),
    "tensor": ((2, 3, 4), "other"),
}
ALL = [(name, *what) for names in (BERT, GPT2, LLAMA, MOE, VIT, RESNET, RECURRENT, LORA, OTHERS)
       for name, what in names.items()]  # fmt: skip


@pytest.mark.parametrize(("name", "shape", "role"), ALL)
def test_role(name, shape, role):
    assert role_of(name, shape) == role


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.model."])
def test_a_common_prefix_changes_no_role(prefix):
    for name, shape, role in ALL:
        if "." in name and "/" not in name:
            assert role_of(prefix + name, shape) == role, name
