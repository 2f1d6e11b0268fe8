"""Where the tests of this folder run: on a CUDA GPU, or where HEED_TEST_DEVICE says.

``HEED_TEST_DEVICE=cpu pytest -m gpu tests/gpu`` tries them without a GPU.
"""

import os

import pytest
import torch


@pytest.fixture(scope="session")
def device():
    name = os.environ.get("HEED_TEST_DEVICE", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA GPU")
    return torch.device(name, 0) if name == "cuda" else torch.device(name)


@pytest.fixture(autouse=True)
def exact_products():
    """Float32 products in float32: TF32 would be another error than the one that is looked for."""
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = allowed
