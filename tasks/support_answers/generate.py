#!/usr/bin/env python3
"""Writes the items of `support_answers`: a shop's policy, a customer's question, and what a right answer says.

  generate.py                     items.jsonl beside this file, byte for byte as committed (seed 20261121)
  generate.py --seed 7 --out F    a fresh suite of the same size and difficulty that nothing was trained or tuned on

A policy is drawn from 16 rules with random numbers: the rule that is asked about, three others, and one about what goes
to a person, in random order. 43 question templates are drawn five times each; 12 hand-written items are added. Level 1
asks for a rule in its own words, level 2 paraphrases or asks for two things, level 3 applies a rule (too late, too
little, not allowed, still in time) or must be handed over without being told so in the same words. An answer must say
the item's facts, must not turn a rule round, must not recite rules nobody asked about, and must hand over exactly what
the policy hands over. Python standard library only; SplitMix64, so that the bytes do not depend on the Python version.
"""
import argparse
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
sys.dont_write_bytecode = True
from splitmix64 import SplitMix64  # noqa: E402

ITEMS = ["lamp", "kettle", "backpack", "desk chair", "rain jacket", "coffee grinder", "bike helmet", "blender", "tent",
         "speaker", "suitcase", "heater"]
CITIES = ["Lisbon", "Oslo", "Denver", "Nairobi", "Osaka", "Toronto"]
PAY = ["credit card", "bank transfer", "cash", "PayPal", "gift card", "cheque", "Bitcoin", "direct debit"]

# Ways to say no and yes. Whether one of them is itself denied is the scorer's business.
NO = [r"^no\b", r"\b(?:cannot|can't|can not|could not|won't|isn't|aren't|don't|doesn't|do not|does not|is not|are not|will not|not)\b",
      r"\btoo late\b", r"\bonly\b", r"\bsorry\b", r"\bunfortunately\b", r"\bno longer\b", r"\bnever\b", r"\bclosed\b"]
YES = [r"^yes\b", r"\bof course\b", r"\bsure\b", r"\bcertainly\b"]

# name: (sentence of the policy, pattern that shows an answer talks about this rule)
RULES = {
    "returns": ("Items can be returned within {d} days of delivery.", r"\b(?:return|send)\w*\b.{{0,40}}\b{d} days"),
    "shipping": ("Standard shipping costs ${c}.", r"standard shipping"),
    "free": ("Shipping is free for orders over ${f}.", r"free\b.{{0,30}}\bover|over \${f}"),
    "warranty": ("All devices have a warranty of {w} years.", r"warranty"),
    "hours": ("The store is open from {h} am to {k} pm, Monday to Saturday.", r"\bopen\w*\b.{{0,20}}\b{h} ?am"),
    "payment": ("We accept {p}, {p2} and {p3}.", r"accept {p}"),
    "match": ("We match a lower price for {m} days after the purchase.", r"match"),
    "cancel": ("Orders can be cancelled free of charge until they are shipped.", r"cancel"),
    "repair": ("Repairs take about {r} working days.", r"repairs?\b"),
    "student": ("Students get {s} percent off with a valid student card.", r"students?\b"),
    "gift": ("Gift cards are valid for {g} years and cannot be paid out.", r"gift cards? (?:are|is) valid"),
    "delivery": ("Delivery takes {a} to {b} working days.", r"delivery takes"),
    "opened": ("Opened items can be returned for a fee of ${o}.", r"fee of \${o}"),
    "parts": ("Missing parts are sent free of charge within {q} days.", r"missing parts"),
    "points": ("You earn {e} points for every dollar you spend.", r"points"),
    "engraved": ("Personalised items cannot be returned.", r"personali[sz]ed"),
}
# Rules that would make the question about another one ambiguous.
APART = {"returns": {"opened", "engraved"}, "opened": {"returns", "engraved"}, "engraved": {"returns", "opened"},
         "shipping": {"free"}, "free": {"shipping", "cancel", "parts"}, "cancel": {"returns", "opened"}, "gift": {"payment"},
         "payment": {"gift"}, "repair": {"delivery"}, "delivery": {"repair"}}

# What goes to a person: (topic in the policy, its own words, [indirect words]).
HANDED = [
    ("injuries", "I want to report an injury caused by your {item}.",
     ["The {item} I bought from you burned my hand last night.", "My son cut his arm on your {item} and is in hospital."]),
    ("legal claims", "I am making a legal claim because of the {item}.",
     ["My lawyer says you owe me money for the {item}, and we will see you in court."]),
    ("stolen cards", "Somebody used my stolen card in your shop to buy a {item}. What now?",
     ["My purse was taken and someone in {city} bought a {item} from you with what was in it."]),
    ("press questions", "I have press questions for an article about your {item}.",
     ["I write for a newspaper in {city} and want to quote somebody about your {item}."]),
]
TEAMS = ["safety team", "legal desk", "service manager", "head office"]


def no(*also):
    return [dict(any_of=NO)] + [dict(any_of=list(p) if isinstance(p, (list, tuple)) else [p]) for p in also]


def says(*patterns):
    return [dict(any_of=list(p) if isinstance(p, (list, tuple)) else [p]) for p in patterns]


def claims(patterns):
    return [dict(any_of=patterns, asserted=True)]


FREE = [r"\bfree\b", r"\bno (?:shipping|charge|cost|fee)", r"\b(?:not|don't|won't|do not|will not) (?:have to |need to )?pay", r"\bnothing\b"]
MAY_RETURN = [r"^yes\b", r"\bcan (?:still )?(?:be )?(?:return|send|give|bring)", r"\bstill (?:return|send)"]

# (rule, level, question, facts, forbidden, good answers, bad answers). {x+n} stands for a number n larger.
ASKED = [
    ("returns", 1, "Within how many days can I return an item?", says(r"\b{d}[ -]days?\b"), [],
     ["You can return an item within {d} days of delivery.", "Within {d} days."],
     ["You can return an item within {d+10} days.", "You cannot return an item.", "You can return it."]),
    ("returns", 2, "I changed my mind about the {item} that came yesterday. How long may I wait before I send it back?",
     says(r"\b{d}[ -]days?\b"), [r"not (?:be )?return"],
     ["You have {d} days from delivery to return it.", "Please return the {item} within {d} days of delivery."],
     ["You have {d+5} days to return it.", "The {item} cannot be returned within {d} days."]),
    ("returns", 3, "My {item} was delivered {d+9} days ago. Can I still return it?", no(r"\b{d}[ -]days?\b"),
     [r"^yes\b", r"\bcan still\b", r"\byou can return (?:it|the|your)\b(?! only| within)"],
     ["No, items can only be returned within {d} days of delivery.", "I am sorry, the {d} days for returns are over and we cannot take it back."],
     ["Yes, you can still return it.", "Yes, you can return it within {d} days.", "No."]),
    ("returns", 3, "My {item} was delivered {d-6} days ago. Can I still return it?", claims(MAY_RETURN),
     [r"^no\b", r"\b(?:cannot|can't|can not|not) (?:be )?return", r"\btoo late\b"],
     ["Yes, you can return it within {d} days of delivery.", "You can still return the {item}."],
     ["No, it is too late.", "Items cannot be returned after {d} days.", "It is a {item}."]),
    ("shipping", 1, "How much does standard shipping cost?", says(r"\$?{c}\b"), [],
     ["Standard shipping costs ${c}.", "It is {c} dollars."], ["Standard shipping is free.", "It costs ${c+2}."]),
    ("shipping", 2, "What will I pay to have a {item} sent to {city} the normal way?", says(r"\$?{c}\b"), [r"\bfree\b"],
     ["Standard shipping to {city} costs ${c}."], ["Sending a {item} to {city} is free.", "You will pay ${c+1} for it."]),
    ("free", 1, "From what order value is shipping free?", says(r"\${f}\b|\b{f} dollars"), [r"\bnot free\b"],
     ["Shipping is free for orders over ${f}.", "From ${f} on."], ["Shipping is free.", "Shipping is free over ${f+10}.", "Shipping is not free over ${f}."]),
    ("free", 2, "I am about to order for ${f+20}. What do I pay for shipping?", claims(FREE), [r"you (?:must|have to|will) pay (?!nothing)"],
     ["Shipping is free for orders over ${f}.", "You pay nothing for shipping."],
     ["You have to pay for shipping.", "Shipping is not free.", "You pay ${f+20}."]),
    ("free", 3, "My order comes to ${f-15}. Is shipping free for me?", no(r"\${f}\b|\b{f} dollars"), [r"^yes\b", r"shipping (?:is|will be) free (?!for orders|over|above|from|only)"],
     ["No, shipping is only free for orders over ${f}.", "Sorry, it is free for orders over ${f} only."],
     ["Yes, shipping is free.", "Yes, shipping is free for orders over ${f}.", "No."]),
    ("warranty", 1, "How long is the warranty on your devices?", says(r"\b{w}[ -]years?\b"), [],
     ["All devices have a warranty of {w} years.", "It is {w} years."], ["The warranty is {w+1} years.", "There is no warranty."]),
    ("warranty", 2, "For how many years are you responsible if my new {item} breaks?", says(r"\b{w}[ -]years?\b"), [r"not responsible"],
     ["Our devices have a warranty of {w} years.", "For {w} years."], ["For {w+2} years.", "We are not responsible for {w} years."]),
    ("warranty", 3, "I bought my {item} {w+2} years ago and it broke today. Is it still under warranty?", no(r"\b{w}[ -]years?\b"),
     [r"^yes\b", r"\b(?:is|are) still (?:under|covered|in)"],
     ["No, the warranty is {w} years.", "Unfortunately the warranty of {w} years is over."],
     ["Yes, it is still under warranty.", "Yes, the warranty is {w} years.", "No."]),
    ("hours", 1, "When is the store open?", says(r"\b{h}\b", r"\b{k}\b"), [],
     ["The store is open from {h} am to {k} pm, Monday to Saturday."], ["The store is open from {h} am.", "The store is open all day."]),
    ("hours", 2, "I work late. Until what time can I come to the store on a Tuesday?", says(r"\b{k}(?: ?pm|:00| o'clock)?\b"), [],
     ["You can come until {k} pm.", "The store is open until {k} pm on Tuesday."], ["You can come until {h} am.", "The store is closed on Tuesday."]),
    ("hours", 3, "Can I visit the store on a Sunday?", [dict(any_of=NO + [r"\bclosed\b", r"monday to saturday"])],
     [r"^yes\b", r"\bopen (?:on|every|all)? ?sunday"],
     ["No, the store is open Monday to Saturday.", "Sorry, the store is closed on Sunday."],
     ["Yes, you can visit the store on Sunday.", "Yes, from {h} am to {k} pm.", "The store is open on Sunday from {h} am to {k} pm."]),
    ("payment", 1, "Which ways of paying do you accept?", says("{p}", "{p2}", "{p3}"), [r"\b{p4}\b", r"(?:not|n't) accept"],
     ["We accept {p}, {p2} and {p3}."], ["We accept {p}.", "We accept {p}, {p2}, {p3} and {p4}.", "We do not accept {p}, {p2} and {p3}."]),
    ("payment", 2, "I would like to pay for my {item} by {p2}. Is that possible?", claims(YES + [r"accept\b", r"\bpossible\b", r"\bcan\b", r"\btake\b"]),
     [r"^no\b", r"\b(?:cannot|can't|not) (?:be )?(?:possible|pay|accept|take|use)"],
     ["Yes, we accept {p2}.", "You can pay by {p2}."], ["No, we do not accept {p2}.", "It is not possible."]),
    ("payment", 3, "I would like to pay for my {item} by {p4}. Is that possible?", no(),
     [r"^yes\b", r"\baccept \w* ?{p4}\b", r"\bcan pay (?:by|with|in) {p4}\b", r"\bis possible\b"],
     ["No, we do not accept {p4}.", "Sorry, we only accept {p}, {p2} and {p3}."],
     ["Yes, we accept {p4}.", "You can pay by {p4}.", "Yes."]),
    ("match", 1, "For how many days do you match a lower price?", says(r"\b{m}[ -]days?\b"), [],
     ["We match a lower price for {m} days after the purchase."], ["For {m+3} days.", "We do not match lower prices."]),
    ("match", 3, "I bought a {item} {m+4} days ago and now see it cheaper. Do you match that price?", no(r"\b{m}[ -]days?\b"),
     [r"^yes\b", r"\bwe (?:will|can) match\b"],
     ["No, we match a lower price only for {m} days after the purchase.", "Sorry, the {m} days for matching a price are over."],
     ["Yes, we match it.", "Yes, we match a lower price for {m} days.", "No."]),
    ("cancel", 1, "Until when can I cancel my order free of charge?", says(r"\b(?:until|before|as long as|unless|once|up to)\b.{0,40}\b(?:ship|sent|dispatch)"), [],
     ["You can cancel until it is shipped.", "Before the order is shipped."], ["You can cancel at any time.", "You cannot cancel."]),
    ("cancel", 3, "My {item} was shipped this morning. Can I cancel the order now?", no(),
     [r"^yes\b", r"\byou can (?:still )?cancel (?:it|the order|your order) (?:now|free)", r"\bcan still\b"],
     ["No, orders can only be cancelled until they are shipped.", "Sorry, it is too late because the {item} was shipped."],
     ["Yes, you can cancel it now.", "Yes, orders can be cancelled free of charge.", "You can still cancel it."]),
    ("repair", 1, "How long do repairs take?", says(r"\b{r}\b"), [], ["Repairs take about {r} working days."],
     ["Repairs take about {r+4} working days.", "We do not do repairs."]),
    ("repair", 2, "If I bring in my broken {item} today, when can I expect to have it back in working order?", says(r"\b{r}\b"), [],
     ["Repairs take about {r} working days.", "In about {r} working days."], ["Tomorrow.", "In {r+1} working days."]),
    ("student", 1, "How much discount do students get?", says(r"\b{s} ?(?:%|percent)"), [],
     ["Students get {s} percent off.", "{s}% with a valid student card."], ["Students get {s+5} percent off.", "There is no discount."]),
    ("student", 2, "I study in {city}. How much do I save, and what do I have to show you?", says(r"\b{s} ?(?:%|percent)", r"\bcard\b"), [],
     ["You get {s} percent off if you show a valid student card."], ["You get {s} percent off.", "Show your student card."]),
    ("gift", 1, "How long are gift cards valid?", says(r"\b{g} years"), [], ["Gift cards are valid for {g} years."],
     ["Gift cards are valid for {g+1} years.", "They are not valid."]),
    ("gift", 3, "I do not need my gift card. Can you give me the money instead?", no(), [r"^yes\b", r"\bcan be paid out\b", r"\bwe (?:can|will) (?:pay|give)"],
     ["No, gift cards cannot be paid out.", "Sorry, we do not pay out gift cards."],
     ["Yes, we can pay it out.", "Gift cards can be paid out.", "Yes, gift cards are valid for {g} years."]),
    ("delivery", 1, "How long does delivery take?", says(r"\b{a}\b", r"\b{b}\b"), [], ["Delivery takes {a} to {b} working days."],
     ["Delivery takes {a} working days.", "It takes {b+3} working days."]),
    ("delivery", 2, "If I order a {item} now, when will it be here in {city}?", says(r"\b{a}\b", r"\b{b}\b"), [],
     ["It will be there in {a} to {b} working days.", "Between {a} and {b} working days from now."], ["It will be there tomorrow.", "In {a} weeks."]),
    ("opened", 1, "What is the fee for returning an opened item?", says(r"\$?{o}\b"), [],
     ["The fee is ${o}.", "Opened items can be returned for a fee of ${o}."], ["There is no fee.", "The fee is ${o+2}."]),
    ("opened", 2, "I have unpacked my {item} and used it once. What would it cost me to give it back?", says(r"\$?{o}\b"), [r"not (?:be )?return", r"\bfree\b"],
     ["You can return it for a fee of ${o}.", "It costs ${o}."], ["It is free.", "You cannot return it, not even for ${o}."]),
    ("parts", 1, "How soon are missing parts sent?", says(r"\b{q} days"), [], ["Missing parts are sent within {q} days."],
     ["Within {q+2} days.", "Missing parts are not sent."]),
    ("parts", 2, "Two screws of my {item} were not in the box. When will you send them, and what do they cost?",
     says(r"\b{q} days") + claims(FREE), [], ["We send them free of charge within {q} days.", "Within {q} days and they cost nothing."],
     ["We send them within {q} days.", "They are free.", "Within {q} days, but not free of charge."]),
    ("points", 1, "How many points do I earn for every dollar?", says(r"\b{e} points|\b{e}\b"), [], ["You earn {e} points for every dollar you spend."],
     ["You earn {e+1} points.", "You earn no points."]),
    ("engraved", 1, "Can personalised items be returned?", no(), [r"^yes\b", r"\bcan be returned\b"],
     ["No, personalised items cannot be returned.", "Sorry, they cannot be returned."],
     ["Yes, personalised items can be returned.", "Yes.", "They can be returned."]),
    ("engraved", 3, "My {item} has my name stitched on it, as I ordered. I would like to send it back. Is that all right?", no(),
     [r"^yes\b", r"\bcan be returned\b", r"\byou can (?:return|send)"],
     ["No, personalised items cannot be returned.", "I am sorry, we cannot take back personalised items."],
     ["Yes, you can send it back.", "Yes, that is all right.", "It can be returned."]),
]

# Written by hand, one of a kind: (level, policy, question, facts, forbidden, escalate, good, bad).
CORE = [
    (1, "Books may be borrowed for 4 weeks. A late book costs 20 cents a day. The reading room is quiet.",
     "How long may I borrow a book?", says(r"\b(?:4|four) weeks"), [r"20 cents"], False, ["You may borrow a book for 4 weeks."], ["For 20 days.", "For 4 days."]),
    (1, "Dogs travel free in a basket. Bicycles need a ticket of $3. Seats cannot be reserved on local trains.",
     "What does a ticket for my bicycle cost?", says(r"\$?3\b"), [r"\bfree\b"], False, ["A bicycle needs a ticket of $3."], ["It is free.", "It needs a ticket."]),
    (1, "Check-in starts at 3 pm. Check-out is at 11 am. Breakfast costs $14 per person.",
     "By when must I check out?", says(r"\b11\b"), [r"breakfast"], False, ["Check-out is at 11 am."], ["At 3 pm.", "You need not check out."]),
    (1, "The pool opens at 6 am. Children under 12 swim free. Lockers take a $1 coin.",
     "At what age do children no longer swim free?", says(r"\b12\b"), [r"lockers"], False, ["Children under 12 swim free, so from 12 on."], ["From 6 on.", "Never."]),
    (2, "A cleaning costs $80. Missed appointments are charged at $40 unless cancelled a day before. We speak English and Polish.",
     "I overslept and missed my cleaning. What will you charge me?", says(r"\$?40\b"), [r"\$?80\b"], False,
     ["Missed appointments are charged at $40."], ["A cleaning costs $80.", "We charge nothing."]),
    (2, "One suitcase of up to 23 kg is included. Each further kilogram costs $9. Hand luggage may weigh 8 kg.",
     "My suitcase has 24 kg. What do I pay on top?", says(r"\$?9\b"), [r"hand luggage"], False, ["You pay $9 for the further kilogram."], ["Nothing, it is included.", "You pay $8."]),
    (2, "Plants are guaranteed for one summer. Watering is included in the care plan. The care plan costs $25 a month.",
     "Who waters my plants if I take the care plan, and what is the price?", says([r"included", r"\bwe\b"], r"\$?25\b"), [r"guaranteed"], False,
     ["Watering is included, and the plan costs $25 a month."], ["The plan costs $25.", "You water them yourself."]),
    (2, "Members may bring one guest a month. Guests need shoes with clean soles. The sauna is for members only.",
     "I am a member. May my friend use the sauna with me?", no(), [r"^yes\b", r"\bmay use the sauna\b", r"\bcan use the sauna\b", r"soles"], False,
     ["No, the sauna is for members only."], ["Yes, you may bring one guest.", "Your friend can use the sauna."]),
    (3, "Tickets can be moved to another evening once. Tickets cannot be refunded. Late guests wait for the break.",
     "I have already moved my ticket to Friday. Could I move it again?", no(), [r"^yes\b", r"\byou can move it\b", r"late guests"], False,
     ["No, tickets can only be moved once.", "Sorry, it cannot be moved again."], ["Yes, you can move it again.", "You can move it to another evening."]),
    (3, "Rent is due on day 3 of each month. Keys are replaced for $30. Water damage goes to the house manager at once.",
     "It drips from my ceiling and the floor is wet already!", [], [r"keys are"], True,
     ["I will pass this on to the house manager at once.", "I am sending your message to the house manager right now."],
     ["Rent is due on day 3.", "Please dry the floor.", "Keys are replaced for $30."]),
    (3, "Lessons last 45 minutes. A lesson cancelled on the same day must be paid. Illness with a doctor's note is free.",
     "I have a fever and a note from my doctor. Must I pay for today's lesson?", [dict(any_of=[r"^no\b", r"\bfree\b", r"\bnot (?:have to |need to )?pay", r"\bdon't have to pay", r"\bneed not\b"])],
     [r"^yes\b", r"\bmust (?:be paid|pay)\b"], False,
     ["No, illness with a doctor's note is free.", "You do not have to pay."], ["Yes, it must be paid.", "You must pay for it."]),
    (3, "Parcels are kept for 7 days. Longer storage costs $2 a day. Questions about customs go to a specialist.",
     "The letter says my parcel from abroad is held because a duty is not paid. What is that?", [], [r"longer storage"], True,
     ["I will connect you with a specialist for customs.", "A specialist will contact you about that."],
     ["Parcels are kept for 7 days.", "Longer storage costs $2 a day.", "I do not know."]),
]


def draw_slots(random):
    """Numbers of different rules never coincide, so that a number shows which rule an answer means."""
    small, days, money = random.some(range(2, 13), 7), random.some([14, 20, 21, 25, 28, 30, 40, 45, 60, 90], 2), random.some(range(3, 60), 2)
    a, b = sorted(random.some([n for n in range(2, 14) if n not in small], 2))
    p = random.some(PAY, 4)
    return dict(d=days[0], m=days[1], c=money[0], o=money[1] + 60, f=140 + 10 * random.below(20), w=small[0], g=small[1],
                q=small[2], e=small[3], r=small[4], h=8 + random.below(3), k=4 + random.below(4), s=random.pick([15, 16, 18, 22, 35]),
                a=a, b=b, p=p[0], p2=p[1], p3=p[2], p4=p[3], item=random.pick(ITEMS), city=random.pick(CITIES))


def fill(text, slots):
    """Replaces {x}, {x+n} and {x-n}; other braces, as in a{0,40}, stay."""
    def value(match):
        name, change = match.group(1), match.group(2)
        if name not in slots:
            return match.group(0)
        return str(slots[name] + int(change)) if change else str(slots[name])
    return re.sub(r"\{([a-z]\w*)([+-]\d+)?\}", value, text)


def fill_all(value, slots):
    if isinstance(value, str):
        return fill(value, slots)
    if isinstance(value, list):
        return [fill_all(v, slots) for v in value]
    if isinstance(value, dict):
        return {k: fill_all(v, slots) for k, v in value.items()}
    return value


def sentence(slots, topics, team):
    return f"Anything about {topics[0]} or {topics[1]} goes to the {team}."


def items(seed):
    random, out, seen = SplitMix64(seed), [], set()

    def add(template, level, policy, question, facts, forbidden, escalate, good, bad):
        seen.add(question)
        wrong = bad + ["", policy] + (["You can read about it in our policy."] if escalate else ["I will pass this on to our team."])
        out.append(dict(id=f"sa-{len(out) + 1:03}", template=template, level=level, policy=policy, question=question,
                        facts=facts, forbidden=forbidden, escalate=escalate, answer=good[0], good=good, bad=wrong))

    def policy(slots, rule, handed):
        others = random.some([n for n in RULES if n != rule and n not in APART.get(rule, set())], 3 if rule else 4)
        topics = random.some([t for t, _, _ in HANDED if t != handed], 2)
        if handed:
            topics[random.below(2)] = handed
        team = random.pick(TEAMS)
        parts = [fill(RULES[n][0], slots) for n in others + ([rule] if rule else [])] + [sentence(slots, topics, team)]
        return " ".join(random.some(parts, len(parts))), [fill(RULES[n][1], slots).replace("{{", "{").replace("}}", "}") for n in others], team

    for place, (rule, level, question, facts, forbidden, good, bad) in enumerate(ASKED, 1):
        for _ in range(5):
            while True:
                slots = draw_slots(random)
                text, marks, _ = policy(slots, rule, None)
                asked = fill(question, slots)
                if (asked, text) not in seen:
                    break
            seen.add((asked, text))
            add(f"{rule}-{place:02}", level, text, asked, fill_all(facts, slots), fill_all(forbidden, slots) + marks, False,
                fill_all(good, slots), fill_all(bad, slots))
    place = 0
    for topic, plain, indirect in HANDED:
        for level, question in [(2, plain)] + [(3, q) for q in indirect]:
            place += 1
            for _ in range(5):
                slots = draw_slots(random)
                text, marks, team = policy(slots, None, topic)
                good = [f"I will pass this on to the {team}.", f"I am forwarding your message to our {team}, who will contact you."]
                bad = ["I am sorry to hear that.", f"I will not pass this on to the {team}.", fill(RULES["cancel"][0], slots)]
                add(f"handed-{place:02}", level, text, fill(question, slots), [], marks, True, good, bad)
    for place, (level, text, *rest) in enumerate(CORE, 1):
        add(f"core-{place:02}", level, text, *rest)
    return out


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--out", default=os.path.join(here, "items.jsonl"))
    options = parser.parse_args()
    with open(options.out, "w", encoding="utf-8", newline="\n") as file:
        for item in items(options.seed):
            file.write(json.dumps(item, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
