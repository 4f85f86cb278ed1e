"""The kinds of events the product knows, with their titles. The table `event_kinds` is seeded with them by the first
migration, which keeps its own frozen copy; a test holds the two equal."""

EVENT_KINDS: dict[str, str] = {
    "login": "登录 / login",
    "view": "浏览 / product view",
    "cart": "加购 / added to cart",
    "participation": "参与活动 / took part in an activity",
    "referral": "推荐好友 / referred a friend",
    "review": "评价 / review",
    "answer": "解答他人 / answered another customer",
    "survey": "问卷 / survey answer",
    "suggestion": "建议 / suggestion",
    "complaint_opened": "投诉 / complaint opened",
    "complaint_solved": "投诉解决 / complaint solved",
    "community": "社区 / community activity",
}
