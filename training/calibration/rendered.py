"""Text rendered with a known blur, in several scripts, with the fonts of this machine.

    text -> glyphs at several times the size -> Gaussian of the wanted blur -> averaged down -> noise -> JPEG

`bench blur` measures the estimate of blur on it; `training calibrate` and `bench ocr` take their Chinese words and
digits from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from model_store.pixels import Rgb
from training.data.fonts import find_fonts
from training.errors import DataError

FONT_ROOTS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts")
OVERSAMPLED = 5  # times the size that glyphs are drawn at: a pixel's own blur is a tenth of one then
MIN_CONTRAST = 60  # of 255, between the luma of ink and of ground
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, the grey that the estimate sees
BOX_VARIANCE = 1 / 12  # of averaging over one pixel, part of the wanted blur
CHINESE = """
北京 上海 大学 图书馆 出口 入口 欢迎光临 咖啡 医院 请勿吸烟 银行 火车站 地铁 公园 超市 药店 停车场
洗手间 小心地滑 安全出口 邮局 餐厅 酒店 机场 公交车 中国 人民路 南京东路 生日快乐 新年 水果 牛肉面 豆腐
火锅 茶馆 书店 博物馆 电影院 体育馆 学校 办公室 会议室 电梯 楼梯 消防栓 禁止停车 单行道 高速公路 收费站
加油站 派出所 税务局 法院 市政府 电话 地址 价格 特价 打折 优惠 营业时间 星期一 上午 下午 二零二六年
人民币 发票 收据 合同 姓名 性别 年龄 日期 编号 签名 审核 批准 部门 经理 主任 教授 工程师 建筑 设计院
研究所 实验室 有限公司 集团 股份 科技 信息 网络 电子 机械 化工 纺织 服装 食品 饮料 农业 林业 渔业 矿业
能源 环保 交通 运输 物流 仓库 快递 旅游 文化 教育 培训 健康 美容 理发 洗衣 维修 装修 家具 电器 手机 电脑
相机 眼镜 钟表 珠宝 玩具 礼品 鲜花 宠物 东方明珠 西安门 黄河路 长江大桥 天安门广场 中山公园 少年宫
幼儿园 中学 小学 社区服务中心 自行车 出租车 候车室 售票处 问讯处 行李寄存 贵宾室 登机口 国际到达
国内出发 海关 护照 签证 免税店 急诊 门诊 药房 住院部 内科 外科 儿科 口腔科 眼科 挂号处 收费处 化验室
注意安全 高压危险 闲人免进 请随手关门 节约用水 爱护花草 保持安静 春天 夏天 秋天 冬天 苹果 香蕉 西瓜 葡萄
草莓 牛奶 面包 鸡蛋 米饭 饺子 包子 豆浆 油条 烤鸭 糖醋鱼 麻婆豆腐 足球 篮球 排球 乒乓球 羽毛球 游泳馆
健身房 图书 报纸 杂志 小说 词典 地图 字典 音乐会 话剧 展览馆 动物园 植物园 海洋馆 游乐场 儿童乐园
老年公寓 招待所 青年旅馆 民宿 茶叶 白酒 啤酒 矿泉水 果汁 酸奶 冰淇淋 巧克力
"""
WORDS: Mapping[str, Sequence[str]] = {
    "latin": [
        "Harbour",
        "Museum",
        "STATION",
        "coffee",
        "Bakery",
        "Lounge",
        "exit",
        "Kingdom",
        "PRICE",
        "market",
        "Sunday",
        "Zürich",
    ],
    "cyrillic": ["Привет", "Музей", "АПТЕКА", "хлеб", "вокзал", "Улица"],
    "greek": ["Καλημέρα", "ΕΞΟΔΟΣ", "δρόμος", "ψωμί", "Μουσείο"],
    "digits": ["2026", "14:30", "38.50", "007", "1984", "+49-30", "$9.99", "50%", "1,200"],
    "line": ["the quick brown fox jumps over the lazy dog", "Ten words in one long line stay ten words, always."],
    "chinese": CHINESE.split(),
}
DIGIT_PATTERNS = ("####", "$##.##", "##:##", "##%", "#,###", "##.##.20##", "+##-###-###", "No.##", "(0##)", "#/##")


@dataclass(frozen=True)
class Damage:
    """Damage to a crop after its blur. noise: standard deviation, of 255. jpeg: quality; 0: no JPEG."""

    noise: float = 0.0
    jpeg: int = 0


@lru_cache(maxsize=1)
def fonts() -> dict[str, tuple[str, ...]]:
    """Paths of the installed fonts for each script, and of the thin Latin ones.

    Latin, Greek and Cyrillic need a font with all three, such as DejaVu or Liberation; without one it raises
    DataError. Chinese needs a font such as Debian's fonts-wqy-zenhei or fonts-noto-cjk.
    """
    whole = [font for font in find_fonts() if font.path and not font.path.endswith(".ttc")]  # no collections
    latin = [font.path for font in whole if font.path and font.has("ЖдΩω")]
    collections = [path for root in FONT_ROOTS if root.is_dir() for path in root.rglob("*.tt[cf]")]
    chinese = sorted(str(path) for path in collections if _draws_chinese(path))
    if not latin:
        raise DataError("no font here has Latin, Greek and Cyrillic letters; install one, such as DejaVu")
    thin = [path for path in latin if any(word in Path(path).stem for word in ("Light", "Thin", "Hairline"))]
    found = dict.fromkeys(("latin", "cyrillic", "greek", "digits", "line"), tuple(latin))
    return found | {"thin": tuple(thin)} | {"chinese": tuple(chinese)}


def _draws_chinese(path: Path) -> bool:
    try:
        font = ImageFont.truetype(str(path), 24)
    except OSError:
        return False
    common, unassigned = (font.getmask(char) for char in ("图", "\uffff"))
    return bytes(common) != bytes(unassigned) and common.getbbox() is not None


def render(text: str, *, font: str, height: int, blur: float, rng: np.random.Generator) -> Rgb:
    """uint8 (height, W, 3), ink and ground of random colours; blur: in pixels of the result, at least 0.3."""
    tall = height * OVERSAMPLED
    drawn, (left, top, right, bottom) = _sized(text, font, tall * rng.uniform(0.6, 0.9))
    wide = round((right - left + tall * rng.uniform(0.1, 0.5)) / OVERSAMPLED) * OVERSAMPLED
    ground, ink = _colours(rng)
    picture = Image.new("RGB", (wide, tall), ground)
    place = ((wide - right - left) // 2, (tall - bottom - top) // 2)
    ImageDraw.Draw(picture).text(place, text, font=drawn, fill=ink)
    sigma = OVERSAMPLED * max(blur**2 - BOX_VARIANCE, 1e-4) ** 0.5
    soft = blurred(np.asarray(picture).astype(np.float32), sigma)
    small = cv2.resize(soft, (wide // OVERSAMPLED, height), interpolation=cv2.INTER_AREA)
    return np.rint(small).astype(np.uint8)


def damaged(rgb: Rgb, damage: Damage, rng: np.random.Generator) -> Rgb:
    """Noise, then JPEG."""
    noise = damage.noise * rng.standard_normal(rgb.shape).astype(np.float32)
    noisy = np.rint(rgb + noise).clip(0, 255).astype(np.uint8)
    if not damage.jpeg:
        return noisy
    bgr = np.ascontiguousarray(noisy[..., ::-1])
    _, data = cv2.imencode(".jpeg", bgr, [cv2.IMWRITE_JPEG_QUALITY, damage.jpeg])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def draw_damage(rng: np.random.Generator) -> Damage:
    """A third nearly clean, a third noisy, a third compressed as JPEG."""
    kind = int(rng.integers(3))
    if kind == 2:
        return Damage(noise=rng.uniform(1, 3), jpeg=int(rng.integers(50, 91)))
    return Damage(noise=rng.uniform(2, 6) if kind else 1.0)


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    """float32, by a Gaussian of sigma pixels; the edge repeats."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def digits(rng: np.random.Generator) -> str:
    """Digits and punctuation, as prices, times, dates and numbers have them."""
    pattern = DIGIT_PATTERNS[int(rng.integers(len(DIGIT_PATTERNS)))]
    return "".join(str(rng.integers(10)) if char == "#" else char for char in pattern)


def _sized(text: str, font: str, ink_height: float) -> tuple[ImageFont.FreeTypeFont, tuple[int, int, int, int]]:
    """The font at the size that gives the text's ink this height, and the ink's box."""
    probe = ImageFont.truetype(font, 100).getbbox(text)
    drawn = ImageFont.truetype(font, max(4, round(100 * ink_height / max(1, probe[3] - probe[1]))))
    left, top, right, bottom = drawn.getbbox(text)
    return drawn, (int(left), int(top), int(right), int(bottom))


def _colours(rng: np.random.Generator) -> tuple[tuple[int, ...], tuple[int, ...]]:
    while True:
        ground, ink = rng.integers(256, size=(2, 3))
        if abs(float(LUMA @ ground) - float(LUMA @ ink)) > MIN_CONTRAST:
            return tuple(map(int, ground)), tuple(map(int, ink))
