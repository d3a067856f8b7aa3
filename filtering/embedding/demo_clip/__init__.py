"""The small CLIP that ships with the package: an open_clip model configuration and its float16 weights.

Trained by benchmarks/quality/demo_clip on OpenMoji pictures; for the demo and the tests.
"""

from pathlib import Path

MODEL_CONFIG = Path(__file__).with_name("filtering-demo.json")
CHECKPOINT = Path(__file__).with_name("weights.safetensors")
