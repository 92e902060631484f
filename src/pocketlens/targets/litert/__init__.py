"""LiteRT (TensorFlow Lite) with XNNPACK kernels: what most Android apps run. Needs pocketlens[litert]."""
