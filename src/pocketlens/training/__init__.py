"""The one training loop, and what feeds it. Fine-tuning, distillation and quantization-aware training all use it."""
