"""The words of the public pages, in Chinese and English. What stands in braces is filled in."""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES: Mapping[str, str] = {"zh-CN": "中文", "en": "English"}
"""The languages of the pages, each by its own name."""

CHANNELS: Mapping[str, Mapping[str, str]] = {
    "zh-CN": {"email": "邮件", "sms": "短信", "whatsapp": " WhatsApp ", "webhook": "应用通知"},
    "en": {"email": "e-mail", "sms": "text message", "whatsapp": "WhatsApp", "webhook": "app notification"},
}
"""What a message comes by: {channel}."""

PLURALS: Mapping[str, Mapping[str, str]] = {
    "zh-CN": {"email": "邮件", "sms": "短信", "whatsapp": " WhatsApp 消息", "webhook": "应用通知"},
    "en": {"email": "e-mails", "sms": "text messages", "whatsapp": "WhatsApp messages", "webhook": "app notifications"},
}
"""All that comes by a channel: {channels}."""

TITLES: Mapping[str, Mapping[str, str]] = {
    "zh-CN": {"email": "邮件", "sms": "短信", "whatsapp": "WhatsApp", "webhook": "应用通知"},
    "en": {"email": "E-mail", "sms": "Text messages", "whatsapp": "WhatsApp", "webhook": "App notifications"},
}
"""A channel as the name of a setting."""

UNSUBSCRIBE: Mapping[str, Mapping[str, str]] = {
    "zh-CN": {
        "title": "退订{channels}",
        "title_done": "您已退订{channels}",
        "lead": "确认后，{shop}不会再通过{channel}向您发送优惠和活动信息。",
        "lead_done": "{shop}不会再通过{channel}向您发送优惠和活动信息。",
        "button": "确认退订{channels}",
        "all_lead": "也可以一次退订所有渠道：邮件、短信和其他方式都不再发送优惠和活动信息。",
        "all_button": "退订全部渠道",
        "to": "接收地址",
        "service": "订单进度、售后等服务通知不受影响。",
        "fewer": "只想少收一些？选择想收到的内容",
        "done": "已退订{channels}",
        "done_all": "已全部退订",
        "done_lead": "即刻生效。{shop}不会再通过{channel}向您发送优惠和活动信息。",
        "done_all_lead": "即刻生效。{shop}不会再通过任何渠道向您发送优惠和活动信息。",
        "on_its_way": "已经发出、还在路上的消息可能仍会收到。",
        "mistake": "点错了？",
        "undo": "撤销退订",
        "restored": "已恢复",
        "restored_lead": "退订已撤销，您仍会收到{shop}的优惠和活动信息。",
        "not_restored": "没有可以撤销的退订",
        "not_restored_lead": "您此前没有订阅，或者退订已超过一天。如果想重新接收，请在接收设置中选择。",
        "settings": "前往接收设置",
        "again": "仍要退订{channels}",
    },
    "en": {
        "title": "Unsubscribe from {channels}",
        "title_done": "You are unsubscribed from {channels}",
        "lead": "Press the button, and {shop} sends you no more offers and news by {channel}.",
        "lead_done": "{shop} does not send you offers and news by {channel}.",
        "button": "Unsubscribe from {channels}",
        "all_lead": "Or leave everything at once: no offers and news by e-mail, text message or in any other way.",
        "all_button": "Unsubscribe from everything",
        "to": "Sent to",
        "service": "Messages about your orders are not affected.",
        "fewer": "Only want fewer? Choose what we send",
        "done": "You are unsubscribed from {channels}",
        "done_all": "You are unsubscribed from everything",
        "done_lead": "This counts from now on: {shop} sends you no more offers and news by {channel}.",
        "done_all_lead": "This counts from now on: {shop} sends you no more offers and news in any way.",
        "on_its_way": "Something that was already on its way may still arrive.",
        "mistake": "Was that a mistake?",
        "undo": "Undo",
        "restored": "You are subscribed again",
        "restored_lead": "That was taken back: you will go on hearing about offers and news from {shop}.",
        "not_restored": "There is nothing to undo",
        "not_restored_lead": "You were not subscribed before, or it is more than a day ago. To hear from us again, "
        "choose it in your settings.",
        "settings": "Go to your settings",
        "again": "Unsubscribe from {channels}",
    },
}

PREFERENCES: Mapping[str, Mapping[str, str]] = {
    "zh-CN": {
        "title": "接收设置",
        "lead": "选择{shop}可以怎样联系您、发送哪些内容。随时可以再改。",
        "channels": "联系方式",
        "agree": "我同意{shop}通过{channel}向我发送优惠和活动信息",
        "refuse": "我不想再通过{channel}收到{shop}的优惠和活动信息",
        "suppressed": "这个地址目前暂停发送：此前有退信、投诉，或您曾回复退订。",
        "topics": "想收到的内容",
        "topic": "我想收到：{topic}",
        "no_topic": "我不想收到：{topic}",
        "personal": "个性化",
        "profiling": "不根据我的购买和浏览记录挑选内容",
        "profiling_hint": "勾选后，您不会再收到按这些记录挑选的优惠和活动信息。",
        "profiling_again": "可以根据我的购买和浏览记录挑选内容",
        "abroad_title": "境外处理",
        "abroad": "我同意{shop}将我的联系方式和称呼提供给位于境外（{places}）的服务商，仅用于向我发送信息",
        "not_abroad": "我不同意{shop}将我的资料提供给位于境外（{places}）的服务商",
        "save": "保存设置",
        "saved": "已保存，即刻生效。",
        "unchanged": "设置没有变化。",
        "all_lead": "不想再收到任何优惠和活动信息？",
        "all_button": "退订全部渠道",
        "service": "订单进度、售后等服务通知不受这些设置影响。",
    },
    "en": {
        "title": "Your settings",
        "lead": "Choose how {shop} may write to you, and about what. You can change it at any time.",
        "channels": "How we may write to you",
        "agree": "I agree that {shop} sends me offers and news by {channel}",
        "refuse": "I no longer want offers and news from {shop} by {channel}",
        "suppressed": "We are not writing to this address at the moment: something came back, or you asked us to stop there.",
        "topics": "What you want to hear about",
        "topic": "I want to hear about: {topic}",
        "no_topic": "I do not want to hear about: {topic}",
        "personal": "Personalised content",
        "profiling": "Do not use what I bought and looked at to choose content for me",
        "profiling_hint": "If you tick this, you get no offers and news that are chosen by it.",
        "profiling_again": "You may use what I bought and looked at to choose content for me",
        "abroad_title": "Data abroad",
        "abroad": "I agree that {shop} gives my address and name to service providers abroad ({places}), only to write to me",
        "not_abroad": "I do not agree that {shop} gives my data to service providers abroad ({places})",
        "save": "Save",
        "saved": "Saved. This counts from now on.",
        "unchanged": "Nothing was changed.",
        "all_lead": "No more offers and news at all?",
        "all_button": "Unsubscribe from everything",
        "service": "Messages about your orders are not affected by these settings.",
    },
}

TEST: Mapping[str, str] = {
    "zh-CN": "这是一封测试消息的链接：这里的操作不会保存，也不影响任何人。",
    "en": "This link belongs to a test message: nothing you do here is saved, and nobody is affected.",
}

REFUSED: Mapping[str, tuple[str, str]] = {
    "zh-CN": ("链接无法打开", "它不完整、被改动过，或者已经过期。请打开您最近收到的那条消息里的链接。"),
    "en": (
        "This link does not work",
        "It is incomplete, was altered, or is too old. Please use the one in the latest message you got.",
    ),
}
"""Said of every link that is not ours or no longer counts, whatever is wrong with it: nobody learns who exists."""

BUSY: Mapping[str, tuple[str, str]] = {
    "zh-CN": ("暂时无法处理", "什么都没有改变。请过几分钟再试一次。"),
    "en": ("Not possible at the moment", "Nothing was changed. Please try again in a few minutes."),
}

UNREADABLE: Mapping[str, tuple[str, str]] = {
    "zh-CN": ("没有收到您的选择", "什么都没有改变。请返回上一页，再按一次按钮。"),
    "en": ("We did not get your answer", "Nothing was changed. Please go back and press the button again."),
}


def fill(words: Mapping[str, str], lang: str, *, shop: str, channel: str) -> dict[str, str]:
    """The words of a page with the shop's name and the channel in them; {topic} stays."""
    values = {"{shop}": shop, "{channels}": PLURALS[lang][channel], "{channel}": CHANNELS[lang][channel]}
    filled = {}
    for key, text in words.items():
        for name, value in values.items():
            text = text.replace(name, value)
        filled[key] = text
    return filled


def choose_language(locale: str) -> str:
    """The language of the pages for a message's locale."""
    return "zh-CN" if locale.lower().startswith("zh") else "en"
