#!/usr/bin/env python3
"""Writes the items of `email_summaries`: short business e-mails, the facts a summary must keep, and what it must not say.

  generate.py                     items.jsonl beside this file, byte for byte as committed (seed 20261121)
  generate.py --seed 7 --out F    a fresh suite of the same size and difficulty that nothing was trained or tuned on

32 templates are drawn six times each with random people, days, rooms, amounts and polite sentences around the matter;
12 hand-written e-mails are added. Level 1 states the matter in one or two sentences; level 2 spreads it over several
sentences among things that do not matter; level 3 corrects itself, compares or holds numbers that are not the answer, so
that a summary can be wrong and not only short. A summary may have four words more than the reference. Python standard library only; SplitMix64, so that
the bytes do not depend on the Python version.
"""
import argparse
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
sys.dont_write_bytecode = True
from splitmix64 import SplitMix64  # noqa: E402

SLOTS = {
    "name": ["Ana", "Ben", "Carla", "Deepak", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jonas"],
    "day": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday"],
    "time": ["8 am", "9 am", "10 am", "11 am", "1 pm", "2 pm", "3 pm", "4 pm", "5 pm"],
    "room": ["12", "31", "47", "105", "204", "218", "330"],
    "date": ["March 6", "March 19", "April 7", "April 23", "June 14", "June 27", "July 9", "August 18", "October 22"],
    "amount": ["$85", "$140", "$190", "$260", "$375", "$420", "$590", "$640", "$780", "$950"],
    "n": ["13", "15", "16", "24", "26", "32", "36", "45", "55", "64"],
    "city": ["Lisbon", "Oslo", "Denver", "Nairobi", "Osaka", "Toronto", "Vienna", "Lima"],
    "item": ["printers", "chairs", "laptops", "monitors", "lamps", "headsets", "cameras"],
    "topic": ["budget", "marketing", "safety", "design", "hiring", "website", "training"],
    "firm": ["Alder Foods", "Birch Media", "Cobalt Bank", "Dune Travel", "Ember Energy", "Fern Clinic"],
    "order": ["4471", "2031", "8852", "1077", "6630", "5921"],
}
OPEN = ["I hope you are well.", "I hope you had a good weekend.", "Thank you for your message.", "Thanks again for your help.",
        "It was nice to see you last week.", "Sorry for writing so late."]
ASIDE = ["The new coffee machine works at last, by the way.", "The office plants look much better since you water them.",
         "It has been raining here for days.", "My phone was off for a while, so I may have missed a call from you.",
         "Everybody enjoyed the cake in the kitchen.", "The lift is slow again, so better take the stairs."]
CLOSE = ["Please let me know if you have any questions.", "Thank you very much.", "Have a nice day.", "Looking forward to hearing from you.",
         "Please write back if anything is unclear."]

# (level, e-mail, reference, facts, forbidden, wrong summaries). Facts: a pattern or a list of patterns any of which says it;
# `!` in front marks a fact nothing makes up for. {x}, {x2}, {x3} are different values; {x} in patterns is escaped.
TEMPLATES = [
    (1, "The {topic} meeting is on {day} at {time} in room {room}.", "The {topic} meeting is on {day} at {time} in room {room}.",
     ["{topic}", "!{day}", "{time}", "room {room}|{room}"], [], ["The {topic} meeting is on {day2} at {time} in room {room}.", "There is a meeting in room {room}."]),
    (1, "Your order {order} of {n} {item} will be delivered on {date}.", "Order {order} of {n} {item} will be delivered on {date}.",
     ["{order}", "{n}", "{item}", "!{date}"], [], ["Order {order} of {n} {item} will be delivered on {date2}.", "An order will be delivered."]),
    (1, "The invoice from {firm} over {amount} has to be paid by {date}.", "The invoice from {firm} over {amount} must be paid by {date}.",
     ["invoice|bill", "{firm}", "!{amount}", "{date}"], [], ["The invoice from {firm} over {amount2} must be paid by {date}.", "The invoice must be paid by {date}."]),
    (1, "{name3} will be out of the office from {date} to {date2}. {name4} takes over meanwhile.", "{name3} is away from {date} to {date2}; {name4} takes over.",
     ["!{name3}", "{date}", "{date2}", "{name4}"], [], ["{name4} is away from {date} to {date2}.", "{name3} is away."]),
    (1, "Our flight to {city} leaves on {day} at {time}. {name3} has the tickets.", "The flight to {city} leaves on {day} at {time}; {name3} has the tickets.",
     ["{city}", "!{day}", "{time}", "{name3}"], [], ["The flight to {city} leaves on {day2} at {time}; {name3} has the tickets.", "There is a flight to {city}."]),
    (1, "Please send me the {topic} report by {day}. {firm} needs {n} printed copies.", "Send the {topic} report by {day}; {firm} needs {n} copies.",
     ["{topic}", "report", "!{day}", "{firm}", "{n}"], [], ["Send the {topic} report by {day2}; {firm} needs {n} copies.", "Send the report."]),
    (1, "We have hired {name3} from {city}. She starts on {date} in the {topic} team.", "{name3} from {city} starts on {date} in the {topic} team.",
     ["!{name3}", "{city}", "{date}", "{topic}"], [], ["{name3} from {city} starts on {date2} in the {topic} team.", "Someone was hired."]),
    (1, "The price of the {item} goes up to {amount} on {date}.", "The {item} will cost {amount} from {date}.",
     ["{item}", "!{amount}", "{date}"], [], ["The {item} will cost {amount2} from {date}.", "The price goes up."]),
    (1, "The water in the building is turned off on {day} from {time} to {time2}.", "There is no water in the building on {day} from {time} to {time2}.",
     ["water", "!{day}", "{time}", "{time2}"], [], ["There is no water on {day2} from {time} to {time2}.", "The water is turned off."]),
    (1, "The workshop in {city} costs {amount} and has {n} places. Please sign up before {date}.", "The workshop in {city} costs {amount}, has {n} places; sign up before {date}.",
     ["workshop", "{city}", "!{amount}", "{n}", "{date}"], [], ["The workshop in {city} costs {amount2}.", "There is a workshop."]),
    (2, "We met {firm} today. {aside} They want {n} {item}. They will pay {amount} for each. We have to deliver by {date}.",
     "{firm} wants {n} {item} at {amount} each, delivered by {date}.", ["!{firm}", "{n}", "{item}", "{amount}", "{date}"], [],
     ["{firm} wants {n2} {item} at {amount} each by {date}.", "We met {firm} today."]),
    (2, "I looked into the {item} you asked about. {aside} {n} of them are broken. A repair costs {amount}. It would take until {date}.",
     "{n} {item} are broken; repair costs {amount} and takes until {date}.", ["{n}", "{item}", "!{amount}", "{date}"], [],
     ["{n} {item} are broken; repair costs {amount2}.", "I looked into the {item}."]),
    (2, "{name3} called this morning from {city}. {aside} She cannot come to the {topic} meeting on {day}. She asks whether {name4} could speak in her place.",
     "{name3} cannot come to the {topic} meeting on {day}; could {name4} speak instead?", ["!{name3}", "{topic}", "{day}", "{name4}"], ["{name3} (?:can|will) (?:come|speak)"],
     ["{name3} can come to the {topic} meeting on {day}.", "{name3} called this morning."]),
    (2, "The trip to {city} is booked. {aside} The hotel costs {amount} a night. You leave on {date}. Please bring the contract for {firm}.",
     "The trip to {city} starts {date}; the hotel is {amount} a night; bring the contract for {firm}.", ["{city}", "!{date}", "{amount}", "{firm}", "contract"], [],
     ["The trip to {city} starts {date2}.", "The trip is booked."]),
    (2, "I have the numbers of the {topic} survey. {aside} {n} people answered. Most of them asked for more {item}. {name3} presents it all on {day}.",
     "{n} people answered the {topic} survey, most want more {item}; {name3} presents on {day}.", ["{topic}", "{n}", "{item}", "!{name3}", "{day}"], [],
     ["{n2} people answered the {topic} survey.", "I have the numbers of the survey."]),
    (2, "There was a leak in room {room} last night. {aside} {n} {item} got wet. The insurance pays {amount}. Please keep the door shut until {day}.",
     "A leak in room {room} damaged {n} {item}; insurance pays {amount}; keep the door shut until {day}.", ["leak|water", "{room}", "{item}", "!{amount}", "{day}"], [],
     ["A leak in room {room} damaged {n2} {item}.", "There was a leak."]),
    (2, "We are moving to {city}. {aside} The new office has room for {n} people. The rent is {amount} a desk. Moving day is {date}.",
     "The office moves to {city} on {date}, with room for {n} people at {amount} a desk.", ["!{city}", "{n}", "{amount}", "{date}"], [],
     ["The office moves to {city2} on {date}.", "We are moving."]),
    (2, "{firm} is not happy with order {order}. {aside} {n} of the {item} did not work. They want {amount} back. They expect an answer by {day}.",
     "{firm} complains that {n} {item} of order {order} failed; wants {amount} back and an answer by {day}.", ["!{firm}", "{n}", "{item}", "{amount}", "{day}"], ["(?:is|are) happy with"],
     ["{firm} is happy with order {order}.", "{firm} wrote about an order."]),
    (2, "The {topic} course is full. {aside} We could open a second one on {day} at {time}. It needs {n} people at least. {name3} would teach it.",
     "The {topic} course is full; {name3} could teach a second on {day} at {time} with at least {n} people.", ["{topic}", "full|second|another", "!{day}", "{time}", "{name3}"], ["(?:is|are) not full"],
     ["The {topic} course is not full.", "The course is on {day2}."]),
    (2, "I spoke with the bank. {aside} They lend us {amount} for the {item}. The first rate is due on {date}. {name3} has to sign by {day}.",
     "The bank lends {amount} for {item}; first rate due {date}; {name3} must sign by {day}.", ["bank", "!{amount}", "{item}", "{date}", "{name3}"], [],
     ["The bank lends {amount2} for {item}.", "I spoke with the bank."]),
    (2, "Thank you for coming to {city}. {aside} We agreed that {firm} sends {n} samples by {date}. {name3} tests them. We decide in room {room} on {day}.",
     "{firm} sends {n} samples by {date}, {name3} tests them, decision on {day}.", ["!{firm}", "{n}", "sample", "{date}", "{name3}"], [],
     ["{firm} sends {n2} samples by {date}.", "Thank you for coming to {city}."]),
    (3, "I told you the {topic} meeting was on {day} at {time}. That is no longer right: it is now on {day2} at {time2}, still in room {room}. {aside}",
     "The {topic} meeting moves to {day2} at {time2} in room {room}.", ["{topic}", "!{day2}", "{time2}", "{room}"], [r"\b(?:on|is|to) {day}\b(?!.{0,40}\b(?:to|now)\b)"],
     ["The {topic} meeting is on {day} at {time} in room {room}.", "The {topic} meeting is in room {room}."]),
    (3, "We had two offers for the {item}. {firm} asks {amount} and delivers on {date}. {firm2} asks {amount2} and delivers on {date2}. {aside} We take {firm2} because their service is better.",
     "We take {firm2}'s offer for the {item}: {amount2}, delivered on {date2}.", ["!{firm2}", "{item}", "{amount2}", "{date2}"], ["(?:take|chose|choose|accept|pick)\\w* {firm}\\b"],
     ["We take {firm}'s offer for the {item}: {amount}, delivered on {date}.", "We had two offers."]),
    (3, "Last month {n} people came to the {topic} course, this month only {n2}. {aside} If fewer than {n3} sign up by {date}, we have to stop it.",
     "Only {n2} people came to the {topic} course this month; it stops if fewer than {n3} sign up by {date}.", ["{topic}", "{n2}", "!{n3}", "{date}"], [],
     ["Only {n3} people came to the {topic} course this month; it stops on {date2}.", "People came to the course."]),
    (3, "{firm} paid {amount} on {date}, but their bill was {amount2}. {aside} Please ask {name3} to collect the rest by {day}.",
     "{firm} paid {amount} instead of {amount2}; {name3} should collect the rest by {day}.", ["!{firm}", "!{amount}", "{amount2}", "{name3}", "{day}"], ["paid (?:all|in full|the full)", "paid {amount2}"],
     ["{firm} paid {amount2} on {date}; {name3} should know by {day}.", "{firm} paid its bill."]),
    (3, "Please do not order the {item} yet. {aside} {name3} found {n} of them in room {room}, so we need {n2} less. Order only after {name4} has agreed on {day}.",
     "Do not order {item} yet: {name3} found {n} in room {room}; wait until {name4} agrees on {day}.", ["!(?:not|n't|wait|hold|only after|stop)", "{item}", "{n}", "{name4}", "{day}"], ["^(?:please )?order"],
     ["Please order the {item}.", "Order {n} {item} by {day}."]),
    (3, "I will not be at the {topic} meeting on {day}, as {name3} may have told you. {aside} {name4} goes in my place and will ask for {amount}, not for the {amount2} in the draft.",
     "{name4} goes to the {topic} meeting on {day} in my place and asks for {amount}.", ["!{name4}", "{topic}", "{day}", "{amount}"], ["(?:ask|request)\\w* for {amount2}"],
     ["{name3} goes to the {topic} meeting on {day} and asks for {amount2}.", "Somebody goes to the meeting."]),
    (3, "The {item} were to come on {date}. {firm} now says {date2}. {aside} That is too late for {city}, so please borrow {n} from {name3} until then.",
     "The {item} from {firm} come on {date2}, so borrow {n} from {name3} for {city}.", ["{item}", "!{date2}", "{n}", "{name3}"], ["(?:come|arrive|be delivered)s? on {date}\\b"],
     ["The {item} come on {date}; borrow {n} from {name3}.", "The {item} are late."]),
    (3, "You asked what the stand in {city} would cost. It was {amount} two years ago and {amount2} last year. {aside} For this year they want {amount3}, and we must answer by {date}.",
     "The stand in {city} costs {amount3} this year; answer by {date}.", ["stand", "{city}", "!{amount3}", "{date}"], ["(?:costs?|wants?|is) {amount2}\\b", "(?:costs?|wants?) {amount}\\b"],
     ["The stand in {city} costs {amount2} this year; answer by {date}.", "The stand costs {amount}."]),
    (3, "Order {order} is not ours. It belongs to {firm}, which shares our street number. {aside} The driver collects the {n} {item} on {day} at {time}. Please keep them in room {room}.",
     "Order {order} belongs to {firm}; the driver collects the {n} {item} from room {room} on {day} at {time}.", ["!{firm}", "{item}", "{day}", "{time}", "{room}"], ["(?:is|are) ours"],
     ["Order {order} is ours; the driver brings it on {day}.", "The driver comes on {day2}."]),
    (3, "{name3} wrote that the {topic} plan costs {amount}. That is a typing error. {aside} It is {amount2} for all {n} people, and {firm} pays half of it by {date}.",
     "The {topic} plan costs {amount2} for {n} people; {firm} pays half by {date}.", ["{topic}", "!{amount2}", "{firm}", "half", "{date}"], ["(?:costs?|is) {amount}\\b"],
     ["The {topic} plan costs {amount}; {firm} pays half by {date}.", "The plan costs {amount2} and {firm} pays it all."]),
    (3, "We cannot offer you the job in {city}, where {n} people applied. {aside} In {city2}, though, {name3} needs somebody for the {topic} team from {date}, and I would gladly recommend you.",
     "No job in {city}, but {name3} needs somebody in {city2} for the {topic} team from {date}.", ["!{city2}", "{name3}", "{topic}", "{date}"], ["(?:offer|have|get|got)\\w* (?:you )?(?:the|a) job in {city}\\b"],
     ["We offer you the job in {city} from {date}.", "We cannot offer you a job."]),
]

# Written by hand, one of a kind: (level, e-mail, reference, facts, forbidden, wrong summaries).
CORE = [
    (1, "Dear all, the canteen is closed next week because the kitchen gets a new floor. Food trucks will stand in the yard from 11 to 2. Kim",
     "The canteen is closed next week for a new floor; food trucks stand in the yard from 11 to 2.", ["!canteen", "closed|shut|no canteen", "next week", "truck", "11"], [], ["The canteen gets new food.", "The canteen is open next week."]),
    (1, "Hello Mr Osei, your passport photos are ready. You can pick them up at the desk on the second floor until 6 pm. They cost $12. Photo Lane",
     "Passport photos are ready at the second-floor desk until 6 pm for $12.", ["photo", "pick|ready|collect", "second|2nd", "6", "!12"], [], ["The photos cost $20.", "Photos are ready."]),
    (1, "Hi Lea, choir practice starts half an hour earlier from now on, at 6:30 pm. Bring the blue folder. Uwe",
     "Choir practice now starts at 6:30 pm; bring the blue folder.", ["!choir", "6:30|earlier", "folder"], [], ["Choir practice starts at 7:30 pm.", "Choir practice is over."]),
    (1, "Dear parents, class 4b visits the zoo on May 21. Each child needs $8 and a packed lunch. We are back at 4 pm. Ms Ruiz",
     "Class 4b visits the zoo on May 21; bring $8 and lunch; back at 4 pm.", ["!zoo", "21", "8", "lunch", "4 ?pm|back"], [], ["Class 4b visits the zoo on May 12.", "The class goes on a trip."]),
    (2, "Hi Tom, the garden looks lovely. The pear tree at the fence is ill, though, and may fall on the shed. Felling it costs $300. I could do it in February, before the birds nest. Gus",
     "The pear tree is ill and may fall; Gus can fell it in February for $300.", ["pear|tree", "ill|sick|fall|fell", "!300", "february"], [], ["The garden looks lovely.", "The pear tree can be felled in March for $300."]),
    (2, "Dear guest, breakfast is served from 7 to 10 on the terrace. The sauna needs to be booked at the desk. Tonight a pianist plays at 9, and the bar is open until 1. Hotel Mira",
     "Breakfast is 7 to 10, the sauna must be booked, a pianist plays at 9.", ["breakfast", "7", "sauna", "!pian", "9"], [], ["A pianist plays at breakfast at 11.", "Welcome to the hotel."]),
    (2, "Hi Noor, I read your chapter on the train. The end is strong. The part about the harbour is too long; I would cut 20 pages. And the hero changes her name on page 96. Send me the next one by Sunday. Bea",
     "Cut 20 pages of the harbour part, fix the hero's name on page 96, send the next chapter by Sunday.", ["20", "harbou?r|long|cut", "96|name", "!sunday"], [], ["Cut 96 pages by Sunday.", "I read your chapter on the train."]),
    (2, "Dear Ms Cho, your blood test is fine except for the iron, which is low. Take one tablet a day with juice. We look again in 6 weeks. Please call for a date. Dr Ahn",
     "Iron is low: take one tablet a day and have another test in 6 weeks.", ["!iron", "tablet|pill", "6|six"], ["iron (?:is|was) (?:fine|good|high)"], ["Your blood test is fine.", "Your iron is high; come in 6 weeks."]),
    (3, "Hi Sam, Dad thinks the party is on the 12th because that is his birthday. It is on the 14th, so that the cousins can come. Not a word to him! Bring the big pot, not the cake, Ida bakes. Mum",
     "Dad's surprise party is on the 14th; bring the big pot and do not tell him.", ["party", "!14", "pot", "not|secret|surprise|n't"], ["party (?:is )?on the 12"], ["Dad's party is on the 12th; bring the cake.", "Ida bakes a cake."]),
    (3, "Dear tenants, the heating was to be repaired on Tuesday. The part did not come. The man will be here on Thursday between 8 and 12, and somebody must let him in on every floor. Until then I lend out heaters. K. Vogel",
     "Heating repair moves to Thursday between 8 and 12; let the man in; heaters can be borrowed.", ["heating", "!thursday", "8|12|morning", "heater|let"], ["(?:on|is) tuesday(?! to| but)"], ["The heating is repaired on Tuesday.", "Heaters are lent out on Friday."]),
    (3, "Hi Raj, the vet found nothing wrong with the dog's leg. It is his teeth: two must come out, at $90 each, and he may not eat the evening before. I booked Monday 8 am, can you drive? Joy",
     "The dog needs two teeth out Monday 8 am at $90 each, no food before; can you drive?", ["teeth|tooth", "two|2", "!monday", "8", "90|drive"], ["leg (?:is|must|needs)"], ["The dog's leg must be treated on Monday.", "The dog is well."]),
    (3, "Dear Mr Haas, you were charged $49 three times in May. Two of these were mistakes and go back to your card within 5 days, $98 together. The third was right. We are sorry. Lantern Gas",
     "Two of three $49 charges in May were mistakes; $98 is returned within 5 days.", ["!98|two|2", "49", "mistake|error|wrong|back|refund|return", "5|five"], ["(?:all|three|3) (?:were|was) mistakes"], ["You were charged $49 in June.", "All three were mistakes."]),
]


def draw_slots(random):
    """Up to four different values of every slot; numbers of different slots never coincide."""
    slots = {}
    for name, values in SLOTS.items():
        for i, value in enumerate(random.some(values, min(4, len(values))), 1):
            slots[name + (str(i) if i > 1 else "")] = value
    for i, value in enumerate(sorted((slots["date"], slots["date2"], slots["date3"], slots["date4"]), key=SLOTS["date"].index)):
        slots["date" + (str(i + 1) if i else "")] = value
    # A day of the month must not repeat another number of the mail.
    numbers = [n for key in ("date", "date2", "n", "n2", "n3", "room") for n in re.findall(r"\d+", slots[key])]
    return slots if len(set(numbers)) == len(numbers) else draw_slots(random)


def fill(text, slots):
    """Replaces the slots; other braces, as in a{0,40}, stay."""
    return re.sub(r"\{([a-z]+\d?)\}", lambda match: slots.get(match.group(1), match.group(0)), text)


def pattern(text, slots):
    """A pattern with values escaped and kept whole: 15 is not in 150, $85 may be written 85."""
    def value(match):
        plain = slots.get(match.group(1))
        if plain is None:
            return match.group(0)
        number = re.fullmatch(r"(\d+) (am|pm)", plain)
        if number:
            return rf"\b{number[1]}(?::00)? ?{number[2][0]}\.?m"
        plain = plain.lstrip("$").lower()
        return r"\b" + plain.replace(" ", r"\s+") + r"(?!\d)"
    return re.sub(r"\{([a-z]+\d?)\}", value, text)


def facts_of(facts, slots):
    out = []
    for fact in facts:
        required = fact.startswith("!")
        out.append(dict(any_of=[pattern(fact.lstrip("!"), slots)], weight=1, required=required))
    return out


def items(seed):
    random, out = SplitMix64(seed), []

    def add(template, level, email, reference, facts, forbidden, wrong):
        words = reference.split()
        cap = max(10, len(words) + 4)
        out.append(dict(id=f"es-{len(out) + 1:03}", template=template, level=level, email=email, max_words=cap, reference=reference, facts=facts,
                        forbidden=forbidden, good=[reference, f" {reference.rstrip('.')}"],
                        bad=wrong + ["", f"{reference} Call 5559.", reference + " It is" + " very" * 9 + " important."]))

    for place, (level, email, reference, facts, forbidden, wrong) in enumerate(TEMPLATES, 1):
        for _ in range(6):
            slots = draw_slots(random)
            aside, sender, reader = random.pick(ASIDE), slots["name"], slots["name2"]
            body = fill(email.replace("{aside}", aside), slots)
            opening = random.pick(OPEN)
            before, after = random.some([a for a in ASIDE if a != aside], 2)
            body = {1: body, 2: f"{body} {after}", 3: f"{before} {body} {after}"}[level]
            opening = opening if opening.startswith("I ") else opening[0].lower() + opening[1:]
            text = f"Hi {reader}, {opening} {body} {random.pick(CLOSE)} {sender}"
            add(f"mail-{place:02}", level, text, fill(reference, slots), facts_of(facts, slots), [pattern(f, slots) for f in forbidden],
                [fill(w, slots) for w in wrong])
    for place, (level, email, reference, facts, forbidden, wrong) in enumerate(CORE, 1):
        add(f"core-{place:02}", level, email, reference, facts_of(facts, {}), forbidden, wrong)
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
