"""The texts of the pages of `python -m bench pages`: everyday sentences, labels and goods, in English and Chinese.

They were written for these pages, so that no recogniser was calibrated or trained on them here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Texts:
    """sentences: of articles and letters. labels: of menus and buttons. spoken: of films, one line each.

    notices: lines of a notice, the first being its heading. goods: of receipts and tables. shops, headings,
    closing: of receipts. columns: headings of a table. `#` stands for a random digit.
    """

    sentences: Sequence[str]
    labels: Sequence[str]
    spoken: Sequence[str]
    notices: Sequence[Sequence[str]]
    goods: Sequence[str]
    shops: Sequence[Sequence[str]]
    total: Sequence[str]
    closing: Sequence[str]
    columns: Sequence[str]
    joint: str  # between sentences and words


_ENGLISH = Texts(
    sentences=(
        "The ferry to the island leaves every morning at 7:#5 from pier #.",
        "Please keep this letter, since you will need the number 4#-8##1 when you write to us.",
        "The council has agreed to repair the bridge before the winter of 20##.",
        "Most of the rooms were empty, but a light was still on in the kitchen.",
        "Save the file first; unsaved changes are lost when the window closes.",
        "Our office is closed on public holidays and on the first Monday of May.",
        "Rain fell for three days, and the lower fields stood under water.",
        "The price rose by #.# % in March, after two quiet months.",
        "She had read the report twice and found only one mistake on page ##.",
        "To change your password, open Settings and choose Account, then Security.",
        "The museum lends wheelchairs free of charge; ask at the desk.",
        "Half of the members voted by post, the other half in the hall.",
        "An update is ready and will be installed tonight between 2:## and 4:##.",
        "He carried the boxes upstairs while the children slept.",
        "Bread, cheese and olives are sold at the market behind the station.",
        "The train from Gdansk is expected to arrive ## minutes late.",
        "Your order No. 7#-###9 was sent on 1# March and should reach you this week.",
        "Turn off the gas before you leave the house for a longer time.",
        "The garden was laid out in 18## by a pupil of the old school.",
        "We thank all neighbours for their patience during the works.",
        "If the lamp stays red, unplug the device and wait ## seconds.",
        "Only two of the nine questions were answered in full.",
        "The school needs a new roof, and the parents have begun to collect money.",
        "Write your name in capital letters and sign below the line.",
        "Copies made after 20## carry a different number on the back.",
        "Walk along the river as far as the mill, then take the path uphill.",
        "The committee meets again on Thursday, ## June, at half past six.",
        "Keep the bottle upright and out of the reach of children.",
        "A copy of this contract has been given to both parties.",
        "Several readers wrote to us about the article on bees.",
    ),
    labels=(
        "File", "Edit", "View", "Insert", "Tools", "Help", "Open folder", "Recent files", "Save as", "Print",
        "Find next", "Replace all", "Zoom in", "Zoom out", "Downloads", "Pictures", "Documents", "Inbox (##)",
        "Drafts", "Sent items", "Account", "Privacy", "Security", "Log out", "Language", "Keyboard", "Network",
        "Updates", "Storage: ## GB free", "Last seen 1#:##", "report_20##.pdf", "notes-##.txt", "photo_##.jpg",
        "Version #.##.#", "Page # of ##", "Select all", "Undo", "Paste", "Copy link", "Share",
    ),
    spoken=(
        "I told you not to come back here.", "Where were you on the night of the storm?",
        "We have ten minutes before the train leaves.", "Nobody has lived in that house for years.",
        "Give me the key, and I will open the door.", "It was never about the money, Thomas.",
        "Can you hear the water under the floor?", "Then who wrote the letter?",
        "You should have called me at once.", "The captain wants to see you on deck.",
        "Look at the map again, more slowly.", "My father built this boat with his own hands.",
        "There must be another way out.", "She left for Lisbon this morning.", "All right, but only this once.",
        "They will be looking for us by now.",
    ),
    notices=(
        ("NOTICE", "The lift is out of order until Friday.", "Please use the stairs at the back entrance.",
         "In urgent cases call 0##-###-##1.", "We are sorry for the trouble.", "The house management"),
        ("OPENING HOURS", "Monday to Thursday 8:30 - 17:00", "Friday 8:30 - 13:00", "Saturday and Sunday closed",
         "Please ring the bell and wait.", "Deliveries at gate #, yard side"),
        ("LOST CAT", "Grey, white paws, answers to Minka.", "Last seen on 1# May near the mill.",
         "Please look into your sheds and cellars.", "Reward. Telephone 06##-##41#"),
        ("VILLAGE FAIR", "Saturday, ## August, from 2 pm", "Music, cakes and games for children",
         "Admission free, parking behind the church", "In bad weather in the sports hall"),
        ("SWIMMING POOL RULES", "Shower before entering the water.", "No running and no diving from the side.",
         "Children under 8 only with an adult.", "Lockers cost # euro, which is returned.",
         "The staff may ask guests to leave."),
        ("CAUTION", "Wet paint on railings and doors.", "Keep this exit clear at all times.",
         "Works end on ## October.", "Questions: office, room ##, first floor"),
    ),
    goods=(
        "Milk 1.5% 1l", "Rye bread", "Eggs 10 pcs", "Butter 250g", "Apples kg", "Bananas kg", "Orange juice",
        "Ground coffee", "Green tea", "Spaghetti 500g", "Tomato paste", "Olive oil", "Dish soap", "Paper towels",
        "Toothpaste", "Batteries AA", "Cheddar", "Yoghurt", "Chocolate", "Mineral water", "Onions kg", "Rice 1kg",
        "Light bulb", "Notebook A5", "Envelopes", "Flour 1kg", "Honey", "Pears kg",
    ),
    shops=(
        ("CORNER MARKET", "14 Mill Lane, Whitby", "Tel. 01947 60##1#"),
        ("HARBOUR STORES", "2 Fish Quay", "VAT No. GB 31# 44## 0#"),
        ("GREEN GROCER", "77 High Street, York", "Open daily 7-22"),
    ),
    total=("SUBTOTAL", "VAT 20%", "TOTAL", "CASH", "CHANGE"),
    closing=("Thank you for your visit!", "Keep this receipt for returns.", "Cashier 0#  Till #  No. 00##7"),
    columns=("Item", "Code", "Stock", "Price"),
    joint=" ",
)  # fmt: skip
_CHINESE = Texts(
    sentences=(
        "每天早上七点#5分，开往小岛的渡船从#号码头出发。",
        "请保存好这封信，来信时请注明编号4#-8##1。",
        "市里决定在20##年冬天以前修好这座桥。",
        "大部分房间都空着，只有厨房里还亮着灯。",
        "请先保存文件，关闭窗口以后未保存的内容会丢失。",
        "公共假日和五月的第一个星期一本办公室不开放。",
        "雨下了三天，低处的田地全被水淹了。",
        "三月份价格上涨了#.#%，此前两个月比较平稳。",
        "这份报告她读了两遍，只在第##页发现一个错误。",
        "修改密码时，请打开设置，选择账户，再选择安全。",
        "博物馆免费提供轮椅，请到服务台询问。",
        "一半会员通过邮寄投票，另一半在大厅里投票。",
        "更新已经准备好，将在今晚2:##到4:##之间安装。",
        "孩子们睡着的时候，他把箱子搬到了楼上。",
        "车站后面的市场出售面包、奶酪和水果。",
        "从南方开来的列车预计晚点##分钟。",
        "您的订单7#-###9已于3月1#日发出，本周内可以收到。",
        "长时间离开家以前，请关好煤气和水龙头。",
        "这座花园建于18##年，由一位老师傅设计。",
        "感谢各位邻居在施工期间的理解和支持。",
        "如果指示灯一直是红色，请拔下电源等待##秒。",
        "九个问题当中，只有两个得到了完整的回答。",
        "学校需要换新屋顶，家长们已经开始捐款。",
        "请用正楷填写姓名，并在横线下面签字。",
        "沿着河边走到磨坊，然后顺着小路上山。",
        "委员会将于6月##日星期四六点半再次开会。",
        "瓶子要直立存放，放在儿童拿不到的地方。",
        "本合同一式两份，双方各持一份。",
        "好几位读者来信谈到那篇关于蜜蜂的文章。",
        "天气转凉，早晚出门请多穿一件衣服。",
    ),
    labels=(
        "文件", "编辑", "查看", "插入", "工具", "帮助", "打开文件夹", "最近的文件", "另存为", "打印预览",
        "查找下一个",
        "全部替换", "放大", "缩小", "下载内容", "图片", "我的文档", "收件箱(##)", "草稿", "已发送邮件", "账户设置",
        "隐私", "安全中心", "退出登录", "语言", "键盘", "网络连接", "检查更新", "剩余空间##GB", "上次在线1#:##",
        "报告20##.pdf", "笔记##.txt", "版本#.##.#", "第#页", "全选", "撤销", "粘贴", "复制链接", "分享",
    ),
    spoken=(
        "我早就告诉过你不要回来。", "暴风雨那天晚上你在哪里？", "离开车只有十分钟了。",
        "那座房子很多年没有人住了。",
        "把钥匙给我，我来开门。", "这件事从来就不是为了钱。", "你听见地板下面的水声了吗？", "那么这封信是谁写的？",
        "你应该马上给我打电话。", "船长请你到甲板上去。", "再看一遍地图，慢一点。", "这条船是我父亲亲手造的。",
        "一定还有别的出路。", "她今天早上去了北方。", "好吧，不过只有这一次。", "他们现在一定在找我们。",
    ),
    notices=(
        ("通知", "电梯正在维修，星期五以前不能使用。", "请走后门的楼梯。", "紧急情况请拨打0##-###-##1。",
         "给您带来不便，敬请谅解。",
         "物业管理处"),
        ("开放时间", "星期一至星期四8:30-17:00", "星期五8:30-13:00", "星期六、星期日休息", "请按门铃并稍等。",
         "送货请走#号门"),
        ("寻猫启事", "灰色，白爪，名叫小米。", "5月1#日在磨坊附近走失。", "请看看您家的车库和地下室。",
         "必有酬谢，电话06##-##41#"),
        ("乡村集市", "8月##日星期六下午两点开始", "音乐、糕点和儿童游戏", "免费入场，停车在广场后面",
         "如遇下雨改在体育馆举行"),
        ("游泳池规则", "下水以前请先淋浴。", "禁止奔跑，禁止跳水。", "八岁以下儿童须有成人陪同。",
         "存物柜押金#元，用后退还。",
         "请听从工作人员的安排。"),
        ("当心", "栏杆和门上的油漆未干。", "任何时候都要保持出口畅通。", "施工到10月##日结束。",
         "咨询请到一楼##号办公室"),
    ),
    goods=(
        "鲜牛奶", "全麦面包", "鸡蛋10个", "黄油250克", "红富士苹果", "香蕉", "橙汁", "咖啡粉", "绿茶",
        "挂面500克", "番茄酱",
        "花生油", "洗洁精", "厨房纸巾", "牙膏", "五号电池", "酱油", "酸奶", "巧克力", "矿泉水", "洋葱",
        "东北大米", "灯泡",
        "笔记本", "信封", "面粉", "蜂蜜", "雪花梨",
    ),
    shops=(
        ("街角超市", "磨坊路14号", "电话021-60##1#"),
        ("海港便利店", "渔人码头2号", "税号31#44##0#"),
        ("绿色果蔬", "中山大街77号", "每天7-22点营业"),
    ),
    total=("小计", "增值税9%", "合计", "现金", "找零"),
    closing=("谢谢惠顾，欢迎再来！", "退换商品请保留小票。", "收银员0# 单号00##7"),
    columns=("品名", "编号", "库存", "单价"),
    joint="",
)  # fmt: skip
TEXTS: Mapping[str, Texts] = {"latin": _ENGLISH, "chinese": _CHINESE}


def filled(pattern: str, rng: np.random.Generator) -> str:
    """The text with a random digit for each `#`."""
    return "".join(str(rng.integers(10)) if char == "#" else char for char in pattern)
