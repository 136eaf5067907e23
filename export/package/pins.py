"""The exact versions that a device gets: those of the lock file, so that what was tested is what is installed."""

from __future__ import annotations

from export.package.target import Machine

PIP = "pip"  # installs the others; Debian splits it from Python, so it comes along

_EVERYWHERE = {"click": "8.5.1", "pillow": "13.0.0", PIP: "26.3"}
_NUMPY = {"3.11": "2.4.6", "3.12": "2.5.5", "3.13": "2.5.5"}  # by version of Python
_NUMPY_1 = "1.26.4"  # tflite-runtime fails with numpy 2
_OF_ENGINE = {
    "litert": {
        "ai-edge-litert": "2.3.0",
        "backports-strenum": "1.2.8",
        "flatbuffers": "25.12.19",
        "ml-dtypes": "0.6.0",
        "protobuf": "7.36.2",
        "tqdm": "4.70.1",
        "typing-extensions": "4.16.0",
    },
    "onnxruntime": {
        "onnxruntime": "1.32.0",
        "flatbuffers": "25.12.19",
        "packaging": "26.3",
        "protobuf": "7.36.2",
    },
    "tflite-runtime": {"tflite-runtime": "2.14.0"},
}
# Of the extra [dicom]. Lossless JPEG would need gdcm: 12 MB, and 43 installed.
_DICOM = {"pydicom": "3.0.2", "pylibjpeg": "2.1.0", "pylibjpeg-openjpeg": "2.6.0", "pyjpegls": "1.5.1"}
_DICOM_ARMV7 = {"pydicom": "3.0.2"}  # no others have wheels for 32-bit ARM: uncompressed, RLE and JPEG baseline
_SIGNATURES = {"cryptography": "50.0.2", "cffi": "2.1.1", "pycparser": "3.12"}
# What inference never opens, as patterns inside the folder of packages: 17 MB that drive a GPU through an interface
# that edge_runtime does not use, and 7 MB of tests.
TRIM = {
    "litert": ("ai_edge_litert/libLiteRtWebGpuAccelerator.so", "numpy/tests", "numpy/*/tests"),
    "onnxruntime": ("numpy/tests", "numpy/*/tests"),
    "tflite-runtime": ("numpy/tests", "numpy/*/tests"),
}


def pinned_versions(machine: Machine, signed: bool = False) -> dict[str, str]:
    """{name of a distribution: version} of all wheels for a machine, but for the runtime's own.

    Args:
        machine: what they are for.
        signed: whether it is to check signatures.
    """
    pins = _EVERYWHERE | _OF_ENGINE[machine.engine] | (_DICOM_ARMV7 if machine.target.system_numpy else _DICOM)
    if signed:
        pins |= _SIGNATURES
    if not machine.target.system_numpy:
        pins["numpy"] = _NUMPY_1 if machine.engine == "tflite-runtime" else _NUMPY[machine.python]
    return dict(sorted(pins.items()))
