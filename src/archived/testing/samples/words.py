"""What invented papers are made of: bodies, people and sentences that exist nowhere.

Data only. Nothing here names a real office, person or document.
"""

from __future__ import annotations

from typing import NamedTuple


class Body(NamedTuple):
    """An issuing body as it stands in a paper's head. Lines are as printed."""

    parent: tuple[str, ...]
    lines: tuple[str, ...]
    symbol: str
    place: str
    signers: tuple[str, ...]
    unit: str
    """The office that drafts, for a dispatch's notation."""


_PEOPLE_COMMITTEE = (
    "TM. ỦY BAN NHÂN DÂN\nCHỦ TỊCH",
    "TM. ỦY BAN NHÂN DÂN\nKT. CHỦ TỊCH\nPHÓ CHỦ TỊCH",
    "KT. CHỦ TỊCH\nPHÓ CHỦ TỊCH",
    "TL. CHỦ TỊCH\nCHÁNH VĂN PHÒNG",
)
_DIRECTOR = ("GIÁM ĐỐC", "KT. GIÁM ĐỐC\nPHÓ GIÁM ĐỐC")

STATE = (
    Body((), ("ỦY BAN NHÂN DÂN", "TỈNH LAM GIANG"), "UBND", "Lam Giang", _PEOPLE_COMMITTEE, "VX"),
    Body(
        (),
        ("ỦY BAN NHÂN DÂN", "TỈNH TRƯỜNG THỦY"),
        "UBND",
        "Trường Thủy",
        _PEOPLE_COMMITTEE,
        "KTTH",
    ),
    Body(("UBND TỈNH LAM GIANG",), ("SỞ NỘI VỤ",), "SNV", "Lam Giang", _DIRECTOR, "CCHC"),
    Body(("UBND TỈNH TRƯỜNG THỦY",), ("SỞ XÂY DỰNG",), "SXD", "Trường Thủy", _DIRECTOR, "QLN"),
    Body(
        ("SỞ NỘI VỤ TỈNH LAM GIANG",),
        ("TRUNG TÂM", "LƯU TRỮ LỊCH SỬ"),
        "TTLTLS",
        "Lam Giang",
        _DIRECTOR,
        "NV",
    ),
    Body(
        ("UBND HUYỆN ĐÔNG TRẠCH",),
        ("PHÒNG GIÁO DỤC", "VÀ ĐÀO TẠO"),
        "PGDĐT",
        "Đông Trạch",
        ("TRƯỞNG PHÒNG", "KT. TRƯỞNG PHÒNG\nPHÓ TRƯỞNG PHÒNG"),
        "HCTH",
    ),
    Body(
        ("UBND TỈNH LAM GIANG",),
        ("ỦY BAN NHÂN DÂN", "HUYỆN BÌNH KHÊ HẠ"),
        "UBND",
        "Bình Khê Hạ",
        _PEOPLE_COMMITTEE,
        "TNMT",
    ),
)
COUNCIL = Body(
    (),
    ("HỘI ĐỒNG NHÂN DÂN", "TỈNH LAM GIANG"),
    "HĐND",
    "Lam Giang",
    ("CHỦ TỊCH", "KT. CHỦ TỊCH\nPHÓ CHỦ TỊCH"),
    "PC",
)
PARTY = (
    Body(
        ("ĐẢNG BỘ TỈNH LAM GIANG",),
        ("TỈNH ỦY",),
        "TU",
        "Lam Giang",
        ("T/M BAN THƯỜNG VỤ\nPHÓ BÍ THƯ", "T/M TỈNH ỦY\nBÍ THƯ"),
        "VP",
    ),
    Body(
        ("TỈNH ỦY LAM GIANG",),
        ("BAN TỔ CHỨC",),
        "BTCTU",
        "Lam Giang",
        ("TRƯỞNG BAN", "K/T TRƯỞNG BAN\nPHÓ TRƯỞNG BAN"),
        "VP",
    ),
    Body(
        ("TỈNH ỦY TRƯỜNG THỦY",),
        ("HUYỆN ỦY ĐÔNG TRẠCH",),
        "HU",
        "Đông Trạch",
        ("T/M BAN THƯỜNG VỤ\nBÍ THƯ", "T/M BAN THƯỜNG VỤ\nPHÓ BÍ THƯ"),
        "VP",
    ),
)


class Kind(NamedTuple):
    """A type of paper: its name, its code, how its subject begins, how its body is built."""

    name: str
    code: str | None
    opening: str
    build: str


STATE_KINDS = {
    "decision": Kind("Quyết định", "QĐ", "Về việc", "articles"),
    "notice": Kind("Thông báo", "TB", "Về việc", "numbered"),
    "dispatch": Kind("Công văn", None, "V/v", "letter"),
    "proposal": Kind("Tờ trình", "TTr", "Về việc", "letter"),
    "directive": Kind("Chỉ thị", "CT", "Về việc", "numbered"),
    "plan": Kind("Kế hoạch", "KH", "Thực hiện", "sections"),
    "minutes": Kind("Biên bản", "BB", "Họp về", "sections"),
    "report": Kind("Báo cáo", "BC", "Kết quả", "sections"),
    "guidance": Kind("Hướng dẫn", "HD", "Thực hiện", "sections"),
    "resolution": Kind("Nghị quyết", "NQ", "Về việc", "articles"),
}
PARTY_KINDS = {
    "party-resolution": Kind("Nghị quyết", "NQ", "về", "sections"),
    "party-decision": Kind("Quyết định", "QĐ", "về", "articles"),
    "party-directive": Kind("Chỉ thị", "CT", "về", "numbered"),
    "party-notice": Kind("Thông báo", "TB", "về", "numbered"),
    "party-dispatch": Kind("Công văn", "CV", "về", "letter"),
    "party-report": Kind("Báo cáo", "BC", "về", "sections"),
}

TOPICS = (
    "chỉnh lý tài liệu tồn đọng và số hóa hồ sơ lưu trữ giai đoạn {y} - {y5}",
    "kiểm kê tài sản, thiết bị phòng đọc và kho bảo quản năm {y}",
    "tổ chức tập huấn nghiệp vụ văn thư, lưu trữ cho công chức cấp xã",
    "rà soát hồ sơ nghề cá và phương tiện thủy nội địa trên địa bàn",
    "sửa chữa đường liên thôn Gò Mận - Bến Cây Thị sau mùa mưa lũ",
    "phân bổ kinh phí hỗ trợ các trường mầm non vùng khó khăn năm {y}",
    "giao nhận hồ sơ địa chính giữa phòng chuyên môn và kho lưu trữ",
    "phòng cháy, chữa cháy tại các kho lưu trữ chuyên dụng",
    "sắp xếp, kiện toàn tổ chức bộ máy của các đơn vị sự nghiệp",
    "công bố thủ tục hành chính trong lĩnh vực lưu trữ",
)
GROUNDS = (
    "Căn cứ Luật Tổ chức chính quyền địa phương;",
    "Căn cứ Luật Lưu trữ và các văn bản hướng dẫn thi hành;",
    "Căn cứ Quy chế làm việc của cơ quan ban hành ngày {d} tháng {m} năm {y};",
    "Xét đề nghị của {person}, Trưởng phòng Hành chính tại Tờ trình số {n}/TTr-HC "
    "ngày {d} tháng {m} năm {y}.",
)
PARTY_GROUNDS = (
    "- Căn cứ Điều lệ Đảng và Quy chế làm việc của cấp ủy nhiệm kỳ {y} - {y5};",
    "- Căn cứ kết quả khảo sát tại {n} chi bộ trực thuộc;",
    "- Xét đề nghị của Văn phòng và các ban tham mưu,",
)
SENTENCES = (
    "Giao Văn phòng chủ trì, phối hợp với các đơn vị liên quan lập danh mục hồ sơ, đánh số tờ và "
    "bàn giao cho kho lưu trữ trước ngày {d} tháng {m} năm {y}.",
    "Tổng kinh phí dự kiến là {money} đồng, trong đó ngân sách tỉnh bảo đảm {p} phần trăm, phần "
    "còn lại huy động từ các nguồn hợp pháp khác.",
    "Đối với tài liệu đã mục, rách hoặc mờ chữ, phải tu bổ bằng giấy dó và hồ dán trung tính trước "
    "khi đưa vào máy quét.",
    "Bà {person} và ông {person} chịu trách nhiệm kiểm tra từng trang ảnh, đối chiếu với bản gốc, "
    "ký xác nhận vào sổ theo dõi.",
    "Nhiệt độ trong kho giữ ở mức {d} độ C, độ ẩm không quá {p} phần trăm; hằng ngày ghi sổ vào "
    "lúc {h} giờ và {h2} giờ.",
    "Các xã, phường, thị trấn báo cáo bằng văn bản về cơ quan thường trực, chậm nhất là ngày {d} "
    "hằng tháng, để kịp thời tháo gỡ vướng mắc.",
    "Hồ sơ có thời hạn bảo quản vĩnh viễn được xếp riêng từng hộp, dán nhãn ở gáy và ghi rõ phông, "
    "mục lục, số hồ sơ.",
    "Việc tiêu hủy giấy tờ hết giá trị chỉ được tiến hành khi có ý kiến của Hội đồng xác định giá "
    "trị tài liệu và biên bản thẩm tra.",
    "Qua kiểm tra {n} hồ sơ, phát hiện {d} hồ sơ thiếu chữ ký, {m} hồ sơ ghi sai năm và một số "
    "bản vẽ khổ lớn bị gấp nếp.",
    "Người dân được đọc, sao chụp tài liệu tại phòng đọc; lệ phí thu theo mức niêm yết, không thu "
    "thêm khoản nào khác.",
    "Thửa đất số {n}, tờ bản đồ số {d}, diện tích {area} mét vuông, nay chuyển sang đất giáo dục "
    "theo quy hoạch đã công bố.",
    "Những nơi đường sá xa xôi, đò giang cách trở thì bố trí xe lưu động, tổ chức tiếp nhận ngay "
    "tại nhà văn hóa thôn.",
    "Đề nghị quý cơ quan xem xét, cho ý kiến bằng văn bản trước ngày {d} tháng {m} năm {y} để tổng "
    "hợp, trình cấp có thẩm quyền quyết định.",
    "Khuyến khích các gia đình, dòng họ ký gửi gia phả, sắc phong, khế ước cũ vào kho lưu trữ để "
    "giữ gìn lâu dài.",
    "Kết quả đạt được còn thấp so với yêu cầu, nguyên nhân chủ yếu do thiếu nhân lực, máy móc cũ "
    "và thủ tục mua sắm kéo dài.",
    "Ông {person}, sinh năm {born}, trú tại thôn Cây Quéo, xã Thạch Lũy, được cử làm tổ trưởng tổ "
    "giúp việc.",
)
HEADINGS = (
    "MỤC ĐÍCH, YÊU CẦU",
    "NỘI DUNG THỰC HIỆN",
    "KINH PHÍ",
    "TỔ CHỨC THỰC HIỆN",
    "TIẾN ĐỘ VÀ CHẾ ĐỘ BÁO CÁO",
    "KIẾN NGHỊ, ĐỀ XUẤT",
)
COLUMNS = ("STT", "Tên hồ sơ, tài liệu", "Số tờ", "Thời hạn")
ROWS = (
    "Hồ sơ cấp đất của ông {person}",
    "Sổ đăng ký văn bản đến năm {y}",
    "Hồ sơ bà {person}",
    "Bản vẽ trạm bơm Vực Ngọc",
    "Sổ hộ khẩu thôn Cây Quéo",
    "Tập ảnh lễ khánh thành cầu Rạch Dừa",
)
TERMS = ("Vĩnh viễn", "70 năm", "20 năm", "10 năm")
ADDRESSEES = (
    "Các sở, ban, ngành trực thuộc",
    "Ủy ban nhân dân huyện Đông Trạch",
    "Trung tâm Lưu trữ lịch sử",
    "Thủ trưởng các đơn vị sự nghiệp",
)
RECIPIENTS = (
    "- Như trên;",
    "- Thường trực HĐND;",
    "- Các phòng chuyên môn;",
    "- Cổng thông tin điện tử;",
    "- Đài phát thanh huyện;",
)
FAMILY = ("Nguyễn", "Trần", "Phạm", "Huỳnh", "Đặng", "Võ", "Đỗ", "Lý", "Dương", "Bạch")
MIDDLE = ("Thị", "Văn", "Xuân", "Đình", "Kỳ", "Hữu", "Mộng", "Bích", "Trọng", "Quý")
GIVEN = (
    "Ẩn",
    "Bằng",
    "Chuẩn",
    "Diễm",
    "Đệ",
    "Giỏi",
    "Hưởng",
    "Khuê",
    "Lựu",
    "Mỵ",
    "Nhẫn",
    "Oánh",
    "Phẩm",
    "Quỵnh",
    "Sửu",
    "Thưởng",
    "Uyển",
    "Vĩ",
    "Xứng",
    "Yến",
)
