#!/usr/bin/env python3
"""Writes the items of `support_tickets`: customer tickets of a shop with smart-home devices, an app and paid plans.

  generate.py                     items.jsonl beside this file, byte for byte as committed (seed 20261121)
  generate.py --seed 7 --out F    a fresh suite of the same size and difficulty that nothing was trained or tuned on

60 templates (12 for each label: 5 of level 1, 4 of level 2, 3 of level 3) are drawn three times each with random
details; the 60 hand-written tickets of `CORE` are added. Level 1 names the matter in the label's own words, level 2
paraphrases it, level 3 mentions another label's matter in passing or speaks indirectly. Python standard library only;
the generator is SplitMix64 so that the bytes do not depend on the Python version.
"""
import argparse
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
sys.dont_write_bytecode = True
from splitmix64 import SplitMix64  # noqa: E402

LABELS = ["billing", "delivery", "account", "technical", "cancellation"]

SLOTS = {
    "amount": ["$12.99", "$19.00", "$24.50", "$38.75", "$49.99", "$64.20", "$79.00", "$105.40", "$129.99", "$240.00"],
    "card": ["Visa card", "credit card", "debit card", "Mastercard"],
    "date": ["January 9", "February 17", "March 3", "April 22", "May 14", "June 30", "July 8", "August 19",
             "September 2", "October 11", "November 25", "December 6"],
    "month": ["January", "March", "April", "June", "August", "September", "November"],
    "inv": ["4471", "20318", "8852", "10077", "6630", "59214"],
    "order": ["58213", "70442", "91006", "33875", "26194", "80557", "47730"],
    "coupon": ["SPRING20", "HELLO10", "FRIEND15", "WINTER25"],
    "error": ["E-104", "500", "0x8007", "E-31", "403", "TIMEOUT-2"],
    "product": ["doorbell camera", "desk lamp", "air sensor", "smart plug", "baby monitor", "speaker", "thermostat",
                "robot vacuum", "coffee maker", "door lock"],
    "colour": ["black", "white", "silver"],
    "colour2": ["green", "red", "blue"],
    "street": ["14 Mill Lane", "220 Harbor Street", "7 Orchard Road", "35 Station Avenue"],
    "name": ["Ana Torres", "Ben Okafor", "Carla Weiss", "Deepak Rao", "Emma Lindqvist", "Farid Haddad"],
    "name2": ["Grace Kim", "Hugo Martin", "Ines Duarte", "Jonas Berg", "Kaya Demir", "Liam Novak"],
    "city": ["Lisbon", "Oslo", "Denver", "Nairobi", "Osaka", "Toronto"],
    "email": ["m.lane@example.com", "jo77@example.org", "the.parks@example.net", "rk@example.com"],
    "email2": ["new.lane@example.com", "jo.work@example.org", "parks@example.com"],
    "user": ["mlane", "jo77", "skywalk", "greentea", "parkfam"],
    "user2": ["mlane2", "jo_home", "skywalk_old", "teatime"],
    "feature": ["calendar", "report", "camera", "settings", "timer", "energy chart", "alarm", "export"],
    "device": ["Android phone", "iPhone", "tablet", "laptop", "Windows PC"],
    "browser": ["Firefox", "Chrome", "Safari", "Edge"],
    "version": ["2.4", "3.0.1", "5.12", "7.3"],
    "plan": ["Basic", "Premium", "Family", "Pro", "Team"],
    "n": ["three", "four", "five", "six", "eight", "ten"],
}

# label -> [(level, text)]; a template's id is its label and place: billing-01 ...
TEMPLATES = {
    "billing": [
        (1, "I was charged {amount} twice on my {card} on {date}. Please refund the second charge."),
        (1, "Invoice {inv} says {amount}, but the price on your website is lower. Please correct the bill."),
        (1, "My {card} payment of {amount} was declined although there is enough money on it."),
        (1, "Please send me an invoice for the {amount} payment I made on {date}."),
        (1, "Why did my monthly bill go up to {amount}? The price used to be lower."),
        (2, "There is {amount} on my bank statement of {date} that I do not recognise. What is it for?"),
        (2, "The discount code {coupon} was accepted at checkout, yet the full {amount} was taken."),
        (2, "You promised on {date} to give me my {amount} back. Nothing has reached my bank so far."),
        (2, "Our accountant needs the receipts of the last {n} months. Where do I find them?"),
        (3, "The {product} arrived on time and works well. But {amount} was taken for it and we had agreed on less."),
        (3, "I ended my plan in {month}, that part went fine, and still {amount} left my bank on {date}."),
        (3, "I can log in again, thanks. In there I saw two rows of {amount} for one and the same {product}."),
    ],
    "delivery": [
        (1, "Where is my package? Order {order} was shipped on {date} and the tracking has not moved since."),
        (1, "The courier says the {product} was delivered on {date}, but there is no parcel at my door."),
        (1, "Please change the shipping address of order {order} to {street}."),
        (1, "The parcel with my {product} arrived damaged. The box was crushed on one side."),
        (1, "When will order {order} be delivered? It was due on {date}."),
        (2, "I ordered a {colour} {product} and was sent a {colour2} one. How do I swap it?"),
        (2, "It has been {n} days and I am still waiting for the {product}. My neighbour got hers after two."),
        (2, "Nobody is home on {date}. Can the driver leave it with {name} next door?"),
        (2, "I bought {n} things and one of them was missing from the box."),
        (3, "I paid {amount} without any problem and have the receipt. After {n} weeks my hands are still empty."),
        (3, "Your app says order {order} is done and shows a photo of a door. That is not my door."),
        (3, "Do not cancel anything, please. Can the {product} be here before {date}? We leave for {city} that night."),
    ],
    "account": [
        (1, "I forgot my password and the reset email never arrives at {email}."),
        (1, "I cannot log in to my account. It says the user name {user} does not exist."),
        (1, "Please change the email address of my account from {email} to {email2}."),
        (1, "My account is locked after {n} wrong passwords. How do I unlock it?"),
        (1, "How do I turn on two-factor login for my account {user}?"),
        (2, "I have had a new phone number since {date}, but the sign-in codes still go to the old one."),
        (2, "My name changed when I married. Where can I update it from {name} to {name2}?"),
        (2, "Someone in {city} signed in as me on {date}. It was not me. What should I do?"),
        (2, "I registered twice by mistake, as {user} and as {user2}. Can the two be joined?"),
        (3, "The app opens and runs fine, but it keeps asking who I am and does not believe {user} is me."),
        (3, "I wanted to look at my bill of {date}, but the page says my user name and password do not match."),
        (3, "{name} has left our team. How do I stop her from getting in and let {name2} in instead?"),
    ],
    "technical": [
        (1, "The app crashes every time I open the {feature} screen on my {device}."),
        (1, "I get error {error} when I try to save a {feature} in the app."),
        (1, "The {product} no longer connects to wifi since the last software update."),
        (1, "The {feature} page is blank in {browser}. Reloading it does not help."),
        (1, "There is a bug in version {version}: the {feature} button does nothing on my {device}."),
        (2, "Since version {version} everything is so slow that I can make tea before the {feature} opens."),
        (2, "The {product} turns itself off after {n} minutes, even with a full battery."),
        (2, "My {feature} shows yesterday's numbers no matter how often I refresh."),
        (2, "The sound of the {product} works on my {device}, but the picture stays black."),
        (3, "I pay {amount} a month for this and the {feature} freezes whenever I touch it."),
        (3, "The parcel came quickly, great. But the {product} only blinks red and will not start."),
        (3, "I signed in without trouble, pressed {feature}, and got a spinning circle for {n} minutes."),
    ],
    "cancellation": [
        (1, "I want to cancel my {plan} subscription. Please confirm by email."),
        (1, "Please cancel my membership at the end of {month}."),
        (1, "How do I stop my {plan} plan from renewing on {date}?"),
        (1, "Cancel my {plan} plan right away. I no longer use the {product}."),
        (1, "I would like to end my {plan} contract in {month}. What is the notice period?"),
        (2, "I found something cheaper. Please close my {plan} plan before {date}."),
        (2, "My free trial ends on {date} and I do not want to go on after that."),
        (2, "We moved to another provider. Do not renew our {plan} licence for {n} users."),
        (2, "I am leaving. What must I do so that the {plan} plan does not continue in {month}?"),
        (3, "The {feature} is nice and my bills are right, but I have no time for it any more. Let us end it in {month}."),
        (3, "My father died and his {plan} plan is still running. He will not need it after {month}."),
        (3, "After {n} broken promises about the {product}, I am done with you. Take me off the {plan} plan."),
    ],
}

# Written by hand, one of a kind: label -> [(level, text)].
CORE = {
    "billing": [
        (1, "My credit card was charged but the order page still says unpaid."),
        (1, "Can I pay by bank transfer instead of credit card?"),
        (1, "You refunded only half of the price. Please pay the rest."),
        (1, "I was billed for three users, but we are only two. Please fix the invoice."),
        (2, "There is a fee of two dollars on top that nobody told me about."),
        (2, "The tax number of our company is missing on the paper you sent to our bookkeeper."),
        (2, "Is it cheaper if I pay for the whole year at once?"),
        (2, "My bank says you tried to take the same sum five times in one night."),
        (3, "Your technician was friendly and the lamp shines again. I just did not expect this visit to cost anything."),
        (3, "My wife and I both have a login, fine, but we should not both be paying."),
        (3, "It says my gift card is empty. I have never used it."),
        (3, "I sent the speaker back a month ago and you confirmed that you have it. So where is my money?"),
    ],
    "delivery": [
        (1, "The tracking number you sent me does not exist. Where is my parcel?"),
        (1, "Do you ship to Norway, and how long does shipping take?"),
        (1, "My package was left in the rain and everything in it is wet."),
        (1, "The delivery driver threw my box over the fence."),
        (2, "I will be on holiday next week. Could you hold the order back until I return?"),
        (2, "The lamp came without its bulb. Please send the missing piece."),
        (2, "I typed the wrong house number when I ordered this morning."),
        (2, "It says out for the day since Monday. Today is Friday."),
        (3, "The email says it is waiting at the corner shop. The corner shop says it is not."),
        (3, "I do not want my money back, I want the coffee maker I was supposed to have on my birthday."),
        (3, "A stranger's vacuum is standing in my hall and mine is probably in his."),
        (3, "The app works, the payment worked, the only thing that does not work is your van finding my street."),
    ],
    "account": [
        (1, "I need to reset my password but I no longer have that email address."),
        (1, "Please delete my account and all personal data you hold about me."),
        (1, "How can I change my user name?"),
        (1, "I am locked out of my account. The login page says wrong password."),
        (2, "The code you text me for signing in never arrives."),
        (2, "My son should be able to sign in too, but without seeing my settings. Is that possible?"),
        (2, "I made a typo in my birthday when I registered."),
        (2, "Please stop sending me newsletters; I could not find the switch in my profile."),
        (3, "It greets me as Robert. I have never been Robert."),
        (3, "I was going to pay the bill, but first you want a secret answer about a pet I never had."),
        (3, "My old phone fell into a lake, and with it the thing that proves it is me."),
        (3, "The person who set this up for our office has retired and took the keys with her, so to speak."),
    ],
    "technical": [
        (1, "The app shows an error message and then closes itself."),
        (1, "The website does not load. I only see a server error."),
        (1, "After the update the software keeps crashing on my tablet."),
        (1, "The sensor will not connect to the app. Bluetooth is on."),
        (2, "When I print the report, every second page is empty."),
        (2, "The clock on the thermostat is always one hour behind, even after a restart."),
        (2, "My vacuum drives in circles and ignores the map it made."),
        (2, "The list can no longer be sorted; clicking the arrow does nothing."),
        (3, "My bill is fine and so is my plan, but the lamp thinks that noon is midnight."),
        (3, "The lock opens for me, for my wife, and since last night for nobody at all. It just beeps."),
        (3, "I pressed send once and my boss got the same file eleven times."),
        (3, "The baby monitor plays the neighbour's radio. It is a good station, but still."),
    ],
    "cancellation": [
        (1, "Please cancel my subscription."),
        (1, "I want to cancel before the next renewal. How do I do that?"),
        (1, "Cancel my membership, I do not want to renew it."),
        (1, "How do I end my subscription to the Family plan?"),
        (2, "I do not need the service any more. Please stop it at the end of this month."),
        (2, "Please do not extend our contract when it runs out in spring."),
        (2, "We are closing our shop, so we will not be customers any longer."),
        (2, "I only wanted to try it for a month. Please make sure it does not go on."),
        (3, "I tried it, I liked it, but my rent went up and something has to go. Sadly it is you."),
        (3, "Thank you for four good years. From next month on I will use pen and paper."),
        (3, "You changed the terms, and I do not agree to them. So this is goodbye."),
        (3, "My password works and the price is fair, I simply want out."),
    ],
}

# What each label is most easily mistaken for: the `bad` answer of the item's self-test.
MISTAKEN_FOR = dict(billing="cancellation", delivery="billing", account="technical", technical="account",
                    cancellation="billing")


def fill(template, random):
    names = [part.split("}")[0] for part in template.split("{")[1:]]
    text = template.format(**{name: random.pick(SLOTS[name]) for name in names})
    return text[0].upper() + text[1:]


def items(seed, per_template):
    random, seen, out = SplitMix64(seed), set(), []

    def add(label, template, level, ticket):
        seen.add(ticket)
        out.append(dict(id=f"st-{len(out) + 1:03}", template=template, level=level, ticket=ticket, label=label,
                        good=[label], bad=[MISTAKEN_FOR[label]]))

    for label in LABELS:
        for place, (level, template) in enumerate(TEMPLATES[label], 1):
            for _ in range(per_template):
                ticket = next(t for t in iter(lambda: fill(template, random), None) if t not in seen)
                add(label, f"{label}-{place:02}", level, ticket)
        for place, (level, ticket) in enumerate(CORE[label], 1):
            add(label, f"{label}-core-{place:02}", level, ticket)
    return out


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--per-template", type=int, default=3, choices=range(1, 4))
    parser.add_argument("--out", default=os.path.join(here, "items.jsonl"))
    options = parser.parse_args()
    with open(options.out, "w", encoding="utf-8", newline="\n") as file:
        for item in items(options.seed, options.per_template):
            file.write(json.dumps(item, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
