"""Rendered words: fonts, random words, grounds, and the crops themselves."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from examples import make_crops, make_figure
from training.data import synth
from training.data.fonts import BUNDLED, Font, choose_font, find_fonts
from training.data.glyphs import GlyphStyle, draw_word
from training.data.grounds import load_grounds, photo_piece, texture
from training.data.synth import SynthConfig, render_word
from training.data.words import SCRIPTS, load_words, random_text, random_word
from training.errors import ConfigError, DataError

CONFIG = SynthConfig()
# A word and nothing else: letters straight on a plain ground.
BARE = SynthConfig(
    spacing_share=0.0, bold_share=0.0, outline_share=0.0, arc_share=0.0, rotate_deg=0.0, shear=0.0,
    perspective=0.0, neighbour_share=0.0, photo_share=0.0, texture_share=0.0, gradient_share=0.0,
    drop_shadow_share=0.0, glow_share=0.0, bevel_share=0.0, soft_shadow_share=0.0, fade_share=0.0,
    noise_std=(0.0, 0.0),
)  # fmt: skip
# (height, width) and mean of "Harbour" with seeds 0 to 5 and the default settings, at the first version.
BEFORE = [
    ((45, 148), 36.6),
    ((59, 262), 161.6),
    ((42, 166), 118.1),
    ((46, 161), 80.1),
    ((43, 163), 86.8),
    ((38, 158), 92.3),
]
LUMA = np.array([0.299, 0.587, 0.114])


@settings(max_examples=60)
@given(text=st.text("ABCabgjkly0189.,:-$%&", min_size=1, max_size=14), seed=st.integers(0, 2**40))
def test_any_word_renders_within_the_height_and_repeats_itself(text: str, seed: int) -> None:
    rgb = render_word(text, config=CONFIG, fonts=[BUNDLED], seed=seed)
    assert rgb.dtype == np.uint8
    assert rgb.shape[2] == 3
    assert 32 <= rgb.shape[0] <= 64
    assert np.array_equal(rgb, render_word(text, config=CONFIG, fonts=[BUNDLED], seed=seed))


def test_another_process_gives_the_same_bytes() -> None:
    code = (
        "import hashlib; from training.data.fonts import BUNDLED;"
        "from training.data.synth import SynthConfig, render_word;"
        "crops = [render_word('Harbour', config=SynthConfig(), fonts=[BUNDLED], seed=s) for s in range(20)];"
        "print(hashlib.sha256(b''.join(c.tobytes() for c in crops)).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    crops = [render_word("Harbour", config=CONFIG, fonts=[BUNDLED], seed=s) for s in range(20)]
    assert there.strip() == hashlib.sha256(b"".join(crop.tobytes() for crop in crops)).hexdigest()


def test_width_follows_the_word() -> None:
    short, long = (render_word(t, config=BARE, fonts=[BUNDLED], seed=1) for t in ("HI", "HIHIHIHIHI"))
    assert long.shape[1] > 2.5 * short.shape[1]


def test_letters_stand_out_from_a_plain_ground_by_the_floor() -> None:
    config = replace(BARE, min_contrast=90.0, lens_sigma_px=(0.3, 0.3), fill=(0.8, 0.8), height_px=(48, 48))
    for seed in range(40):
        luma = render_word("HIM", config=config, fonts=[BUNDLED], seed=seed) @ LUMA
        low, high = np.percentile(luma, [1, 99])
        assert high - low >= 0.65 * 90.0  # a worn word's far end keeps 70 %; the lens takes the rest


@given(
    ink=st.tuples(*[st.floats(0, 255)] * 3),
    ground=st.floats(0, 255),
    floor=st.floats(1, 127),
)
def test_ink_is_moved_to_the_contrast_floor_and_stays_a_colour(
    ink: tuple[float, ...], ground: float, floor: float
) -> None:
    moved = synth._readable(np.array(ink, np.float32), ground, floor)
    assert abs(float(moved @ LUMA) - ground) >= floor - 0.01
    assert moved.min() >= -0.01
    assert moved.max() <= 255.01


def test_a_loud_ground_is_quietened_below_the_ink() -> None:
    loud = np.random.default_rng(0).uniform(0, 255, (3, 32, 64)).astype(np.float32)
    quiet = synth._quieter(loud, loud.mean((1, 2)), 10.0)
    assert quiet[1].std() == pytest.approx(10.0, rel=1e-3)
    assert np.allclose(quiet.mean((1, 2)), loud.mean((1, 2)), atol=0.01)


def test_a_blank_word_is_refused() -> None:
    with pytest.raises(DataError, match="blank"):
        render_word("  ", config=CONFIG, fonts=[BUNDLED], seed=0)


def test_a_font_without_a_glyph_is_left_out() -> None:
    assert BUNDLED.has("Word 123")
    assert not BUNDLED.has("\u6f22")
    with pytest.raises(DataError, match="\u6f22"):
        render_word("\u6f22", config=CONFIG, fonts=[BUNDLED], seed=0)


def test_only_fonts_with_the_glyph_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts = [Font("a.ttf"), Font("b.ttf"), Font("c.ttf")]
    monkeypatch.setattr(Font, "has", lambda self, text: self.path != "b.ttf")
    rng = np.random.default_rng(0)
    assert {choose_font("x", fonts, rng).path for _ in range(60)} == {"a.ttf", "c.ttf"}


def test_a_folder_without_a_usable_font_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"not a font")
    with pytest.raises(DataError, match=r"no \.ttf or \.otf text font, and no \.ttc,"):
        find_fonts(tmp_path)
    with pytest.raises(DataError, match="no font folder"):
        find_fonts(tmp_path / "absent")


def test_installed_fonts_all_hold_some_script_that_words_are_made_up_in() -> None:
    fonts = find_fonts()
    assert fonts
    assert all(font.has("Quick90") or font.has("国") or font.has("あ") or font.has("한") for font in fonts)
    assert not [font.name for font in fonts if "Symbol" in font.name or "Emoji" in font.name]


def test_every_face_of_a_collection_is_found() -> None:
    collections = {font.path for font in find_fonts() if font.path and font.path.endswith(".ttc")}
    if not collections:
        pytest.skip("no font collection (.ttc) is installed")
    faces = [font for font in find_fonts() if font.path in collections]
    assert len(faces) == len(set(faces)) > len(collections)
    assert all(font.at(20).getname() for font in faces)


def test_thirty_cuts_of_one_design_do_not_outweigh_five_designs(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts = [Font(f"Large-{cut}.ttf") for cut in range(36)] + [Font(f"{name}.ttf") for name in "abcde"]
    monkeypatch.setattr(Font, "has", lambda self, text: text != "国")
    rng = np.random.default_rng(0)
    drawn = [choose_font("x", fonts, rng).name for _ in range(1000)]
    assert np.mean([name.startswith("Large") for name in drawn]) == pytest.approx(6 / 11, abs=0.05)
    assert len(set(drawn)) == 41


def test_a_font_for_chinese_draws_other_words_only_where_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fonts = [Font("western.ttf"), Font("eastern.ttc", 2)]
    monkeypatch.setattr(Font, "has", lambda self, text: self.face == 2 or "国" not in text)
    rng = np.random.default_rng(0)
    assert {choose_font("Word", fonts, rng) for _ in range(50)} == {fonts[0]}
    assert choose_font("Word 国", fonts, rng) == fonts[1]
    assert choose_font("Word", fonts[1:], rng) == fonts[1]


def test_a_bent_or_spaced_word_is_drawn_higher_or_wider() -> None:
    plain = draw_word("harbour", BUNDLED, GlyphStyle())
    bent = draw_word("harbour", BUNDLED, GlyphStyle(rise=0.1))
    spaced = draw_word("harbour", BUNDLED, GlyphStyle(spacing_px=10.0))
    assert bent.aspect < plain.aspect < spaced.aspect


def test_a_rim_surrounds_the_fill() -> None:
    masks = draw_word("o", BUNDLED, GlyphStyle(outline_px=3)).masks.astype(int)
    assert (masks[..., 1] >= masks[..., 0]).all()
    assert masks[..., 1].sum() > 1.3 * masks[..., 0].sum()


def test_a_dash_keeps_its_size_in_the_line() -> None:
    rgb = render_word("-", config=replace(BARE, height_px=(40, 40)), fonts=[BUNDLED], seed=2)
    luma = rgb @ LUMA
    ground = np.median(luma)
    inked = np.abs(luma - ground).max(1) > 20
    assert 1 <= inked.sum() < 20


def test_a_seed_gives_what_it_gave_before_there_were_subtitles_and_screens() -> None:
    """Sizes and means as the first version drew them; one draw more or less changes them all."""
    crops = [render_word("Harbour", config=CONFIG, fonts=[BUNDLED], seed=seed) for seed in range(6)]
    assert [crop.shape[:2] for crop in crops] == [size for size, _ in BEFORE]
    assert np.allclose([crop.mean() for crop in crops], [mean for _, mean in BEFORE], atol=0.2)


SUBTITLES = replace(CONFIG, subtitle_share=1.0, neighbour_share=0.0, height_px=(64, 64))


def test_subtitles_are_white_or_yellow() -> None:
    dark = np.full((100, 400, 3), (30, 10, 40), np.uint8)
    inks = []
    for seed in range(40):
        rgb = render_word("HIM", config=SUBTITLES, fonts=[BUNDLED], seed=seed, grounds=[dark])
        inks.append(np.percentile(rgb.reshape(-1, 3), 95, axis=0))  # (3,), of the letters
        assert np.abs(rgb[0, 0] - dark[0, 0].astype(int)).max() < 12  # the ground shows as it is
    red, green, blue = np.array(inks).T
    assert min(red.min(), green.min()) > 150
    assert 0.1 < np.mean(blue < 0.6 * green) < 0.6


def test_subtitles_have_a_dark_rim_or_shadow_on_a_bright_ground() -> None:
    bright = np.full((100, 400, 3), (210, 240, 225), np.uint8)
    for seed in range(40):
        rgb = render_word("HIM", config=SUBTITLES, fonts=[BUNDLED], seed=seed, grounds=[bright])
        assert np.percentile(rgb @ LUMA, 5) < 90
        assert np.percentile(rgb @ LUMA, 95) > 180


def test_a_subtitle_without_photographs_stands_on_a_loud_ground() -> None:
    config = replace(CONFIG, subtitle_share=1.0, neighbour_share=0.0)
    edges = [
        render_word("HI", config=config, fonts=[BUNDLED], seed=seed)[:2].astype(float).std((0, 1)).max()
        for seed in range(40)
    ]
    assert np.median(edges) > 15


def test_text_of_a_screen_has_a_plain_ground_and_clear_sharp_letters() -> None:
    config = replace(CONFIG, screen_share=1.0, neighbour_share=0.0, height_px=(48, 48))
    lighter = 0
    for seed in range(40):
        rgb = render_word("HIH", config=config, fonts=[BUNDLED], seed=seed).astype(int)
        ground = rgb[0, 0]
        assert (rgb[:, :2] == ground).all()  # no light and no noise
        luma = rgb @ LUMA
        ink = luma.flat[np.abs(luma - ground @ LUMA).argmax()]
        assert abs(ink - ground @ LUMA) >= 85
        lighter += ink > ground @ LUMA
        row = luma[24]  # upright strokes: a pixel on either side of an edge is the letter's or the ground's
        assert np.abs(np.diff(row)).max() > 0.45 * abs(ink - ground @ LUMA)
    assert 5 < lighter < 35  # light on dark as well as dark on light


def test_shares_of_special_words_must_leave_a_share_of_signs() -> None:
    with pytest.raises(ConfigError, match=r"subtitle_share \+ screen_share"):
        SynthConfig(subtitle_share=0.6, screen_share=0.5)


def test_photographs_are_used_when_given() -> None:
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[..., 1] = np.linspace(0, 255, 200, dtype=np.uint8)
    config = replace(BARE, photo_share=1.0, min_contrast=120.0)
    rgb = render_word("Hi", config=config, fonts=[BUNDLED], seed=4, grounds=[photo])
    corner = rgb[0, 0].astype(int)
    assert corner[0] < 5
    assert corner[2] < 5


@settings(max_examples=30)
@given(h=st.integers(2, 90), w=st.integers(2, 200), seed=st.integers(0, 1000))
def test_grounds_have_the_asked_size(h: int, w: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert photo_piece([np.zeros((30, 50, 3), np.uint8)], (h, w), rng).shape == (3, h, w)
    plain = texture(np.full(3, 128.0), (max(h, 8), max(w, 8)), rng)
    assert plain.shape == (3, max(h, 8), max(w, 8))
    assert plain.dtype == np.float32


def test_a_folder_of_photographs_is_read_as_rgb(tmp_path: Path) -> None:
    Image.new("RGB", (1280, 320), (250, 10, 10)).save(tmp_path / "red.png")
    (photo,) = load_grounds(tmp_path)
    assert photo.shape == (160, 640, 3)
    assert photo[0, 0].tolist() == [250, 10, 10]


@pytest.mark.parametrize(("name", "what"), [("x.png", "cannot read"), ("x.txt", "no .*picture")])
def test_a_folder_of_unusable_photographs_is_refused(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(DataError, match=what):
        load_grounds(tmp_path)


def test_random_words_repeat_by_seed_and_mix_their_kinds() -> None:
    words = [random_word(np.random.default_rng(seed)) for seed in range(400)]
    assert words == [random_word(np.random.default_rng(seed)) for seed in range(400)]
    assert all(word and word.isascii() and " " not in word for word in words)
    share = {
        kind: np.mean([getattr(word, kind)() for word in words]) for kind in ("isupper", "islower", "istitle")
    }
    assert all(value > 0.12 for value in share.values()), share
    assert 0.05 < np.mean([not any(char.isalpha() for char in word) for word in words]) < 0.25


# What a text of each script may hold beside digits, marks and the Latin words that stand beside every script.
UNICODE_NAMES = {
    "latin": {"LATIN"}, "accents": {"LATIN"}, "cyrillic": {"LATIN", "CYRILLIC"}, "greek": {"LATIN", "GREEK"},
    "chinese": {"LATIN", "CJK"}, "japanese": {"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"},
    "korean": {"LATIN", "HANGUL"},
}  # fmt: skip


def scripts_in(text: str) -> set[str]:
    return {unicodedata.name(char).partition(" ")[0] for char in text if char.isalpha()}


@pytest.mark.parametrize("script", SCRIPTS)
def test_texts_of_a_script_have_its_letters_and_no_others(script: str) -> None:
    texts = [random_text(np.random.default_rng(seed), script=script) for seed in range(500)]
    assert texts == [random_text(np.random.default_rng(seed), script=script) for seed in range(500)]
    assert set().union(*map(scripts_in, texts)) == UNICODE_NAMES[script]
    own = UNICODE_NAMES[script] - {"LATIN"} or {"LATIN"}
    assert np.mean([bool(scripts_in(text) & own) for text in texts]) > (0.85 if script == "latin" else 0.99)
    assert 0.2 < np.mean([" " in text.strip() for text in texts]) < 0.35
    assert any(char.isdigit() for text in texts for char in text)
    assert any(unicodedata.category(char).startswith("P") for text in texts for char in text)
    assert all(text == text.strip() for text in texts)
    if script in ("chinese", "japanese", "korean"):
        assert {len(text.strip("。、，！？：;:.,!?()（）“”‘’'《》「」『』・\"")) for text in texts} == set(
            range(1, 9)
        )


def test_accents_are_those_of_one_language_in_a_word() -> None:
    texts = [random_text(np.random.default_rng(seed), script="accents", words=["coast"]) for seed in range(300)]
    assert np.mean([not text.isascii() for text in texts]) > 0.8
    assert {"č", "ç", "ć", "ã", "å", "ß", "ț"} <= set("".join(texts).lower())
    assert not [text for text in texts if "ç" in text.lower() and "č" in text.lower() and " " not in text]


def test_an_unknown_script_is_refused_with_the_names() -> None:
    with pytest.raises(ConfigError, match=r"'runic'.*greek, chinese"):
        random_text(np.random.default_rng(0), script="runic")


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_renders_at_every_height(script: str) -> None:
    fonts, config = find_fonts(), replace(CONFIG, height_px=(32, 96))
    texts = [random_text(np.random.default_rng(seed), script=script) for seed in range(30)]
    heights = set()
    for seed, text in enumerate(texts):
        try:
            heights.add(len(render_word(text, config=config, fonts=fonts, seed=seed)))
        except DataError as error:
            pytest.skip(f"no font here: {error}")
    assert min(heights) >= 32
    assert 64 < max(heights) <= 96


def test_a_high_crop_has_edges_as_sharp_as_a_low_one() -> None:
    """Width of an edge in pixels: letters drawn at one size and blown up would be softer in the high crop."""
    widths = []
    for height in (64, 128):
        config = replace(BARE, height_px=(height, height), lens_sigma_px=(0.01, 0.01), stretch=(1.0, 1.0))
        luma = render_word("HIH", config=config, fonts=[BUNDLED], seed=3) @ LUMA
        row = luma[len(luma) // 2 + len(luma) // 5]
        widths.append(np.abs(np.diff(row)).sum() / np.abs(np.diff(row)).max())
    assert widths[1] < 1.15 * widths[0]


def test_words_come_from_the_list_when_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("alpha\n\n beta \n", encoding="utf-8")
    words = load_words(path)
    assert words == ("alpha", "beta")
    drawn = {random_word(np.random.default_rng(seed), words=words).lower() for seed in range(200)}
    assert {"alpha", "beta"} <= drawn
    assert not {word for word in drawn if word.isalpha()} - {"alpha", "beta"}


def test_an_empty_or_missing_word_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no word"):
        load_words(tmp_path / "empty.txt")
    with pytest.raises(DataError, match="cannot read"):
        load_words(tmp_path / "absent.txt")


def test_an_impossible_setting_is_named() -> None:
    with pytest.raises(ConfigError, match="glow_share"):
        SynthConfig(glow_share=-0.1)
    with pytest.raises(ConfigError, match="fill"):
        SynthConfig(fill=(0.9, 0.2))


def test_every_sample_crop_is_labelled_and_as_small_as_a_detector_cuts_them() -> None:
    crops = make_figure.load_crops(make_crops.OUT, [sample.file for sample in make_crops.SAMPLES])
    assert sorted(path.name for path in make_crops.OUT.glob("*.png")) == sorted(s.file for s in make_crops.SAMPLES)
    for sample, (label, lr) in zip(make_crops.SAMPLES, crops, strict=True):
        assert label.partition("\n")[0] == sample.text
        assert lr.shape[0] == sample.height
        assert 12 <= lr.shape[0] <= 24
        assert 2.5 <= lr.shape[1] / lr.shape[0] <= 5.5


def test_sample_crops_can_be_made_without_their_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_crops, "find_fonts", lambda folder: (BUNDLED,))
    assert make_crops.main(["--out", str(tmp_path)]) == 0
    assert (tmp_path / "labels.tsv").read_bytes() == (make_crops.OUT / "labels.tsv").read_bytes()
    assert len(list(tmp_path.glob("*.png"))) == len(make_crops.SAMPLES)


def test_the_comparison_shows_input_bicubic_and_what_the_model_gave() -> None:
    lr = np.full((10, 40, 3), (10, 20, 30), np.uint8)
    red = np.zeros((20, 80, 3), np.uint8)
    red[..., 0] = 255
    sheet = np.asarray(make_figure.comparison([("word", lr)], lambda crop: red))
    left = make_figure.LABEL_PX + make_figure.GAP_PX + 20
    y = make_figure.HEAD_PX + make_figure.ROW_PX // 2
    seen = [sheet[y, left + k * (make_figure.COLUMN_PX + make_figure.GAP_PX)].tolist() for k in range(3)]
    assert seen == [[10, 20, 30], [10, 20, 30], [255, 0, 0]]
    assert sheet.shape[1] <= 1000


def test_a_figure_without_a_server_says_what_to_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_figure.main(["--out", str(tmp_path / "x.png"), "--url", "http://127.0.0.1:9"]) == 2
    assert "text-telescope serve" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()
