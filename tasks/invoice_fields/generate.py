#!/usr/bin/env python3
"""Writes the items of `invoice_fields`: short invoices and receipts, and the JSON that is to be read out of them.

  generate.py                     items.jsonl beside this file, byte for byte as committed (seed 20261121)
  generate.py --seed 7 --out F    a fresh suite of the same size and difficulty that nothing was trained or tuned on

32 layouts are drawn six times each with random sellers, numbers, dates and amounts; 12 hand-written documents are added.
Level 1 has one labelled line for each field in the order asked for; level 2 changes wording, order and formats; level 3
is running text, has amounts and dates that are not the ones asked for, or lacks a field (null). Fields: `number`, `date`
(ISO), `total` (amount with two decimals), `currency` (ISO code), `due` (ISO date or null). Python standard library only;
SplitMix64, so that the bytes do not depend on the Python version.
"""
import argparse
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
sys.dont_write_bytecode = True
from splitmix64 import SplitMix64  # noqa: E402

SELLERS = ["Alder Hardware", "Bluebell Florist", "Cobalt Printing", "Dune Coffee", "Ember Ovens", "Fernway Garden",
           "Gable Roofing", "Harbor Cleaning", "Iris Optics", "Juniper Catering", "Kestrel Couriers", "Larch Office"]
BUYERS = ["North Dental", "Olive School", "Pine Hotel", "Quartz Gym", "River Clinic", "Stone Bakery"]
GOODS = ["paper", "lamps", "roses", "coffee beans", "cleaning", "repair work", "chairs", "lenses", "catering", "timber"]
CURRENCIES = [("USD", "$"), ("EUR", "€"), ("GBP", "£")]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December"]

# (level, has a due date, layout). iso/iso2: date and due date as ISO; long/long2: March 4, 2026; dmy/dmy2: 4 March 2026;
# t: total like 1250.40; tc: total with thousands comma; c: currency code; s: its sign; sub, tax: part amounts.
LAYOUTS = [
    (1, True, "Invoice number: {n}\nDate: {iso}\nTotal: {t}\nCurrency: {c}\nDue: {iso2}"),
    (1, True, "{seller}\nInvoice number: {n}\nDate: {iso}\nTotal: {t} {c}\nDue: {iso2}"),
    (1, True, "Number: {n}\nDate: {iso}\nFor: {goods}\nTotal: {t} {c}\nDue date: {iso2}"),
    (1, True, "Invoice {n}\nDate {iso}\nTotal {t} {c}\nDue {iso2}"),
    (1, True, "Invoice number: {n}\nInvoice date: {iso}\nTotal amount: {t} {c}\nDue date: {iso2}"),
    (1, True, "Seller: {seller}\nBuyer: {buyer}\nNumber: {n}\nDate: {iso}\nTotal: {t} {c}\nDue: {iso2}"),
    (1, True, "INVOICE\nNumber: {n}\nDate: {iso}\nTotal: {c} {t}\nDue: {iso2}"),
    (1, True, "Invoice no.: {n}\nDate: {iso}\nGoods: {goods}\nTotal: {c} {t}\nDue: {iso2}"),
    (1, True, "Bill number: {n}\nDate: {iso}\nTotal: {t}\nCurrency: {c}\nDue: {iso2}\nThank you!"),
    (1, True, "{seller} invoice\nNumber: {n}\nDate: {iso}\nDue: {iso2}\nTotal: {t} {c}"),
    (1, True, "To: {buyer}\nInvoice number: {n}\nDate: {iso}\nDue: {iso2}\nTotal: {t} {c}"),
    (2, True, "{seller}\nInvoice #{n} of {long}\n{goods}: {s}{t}\nAmount due: {s}{t}\nPlease pay by {long2}"),
    (2, True, "Total: {s}{t}\nPayable until: {iso2}\nIssued: {iso}\nReference: {n}\n{seller}"),
    (2, True, "Bill {n} | {iso} | due {iso2}\n{goods} for {buyer}\nTotal {s}{tc}"),
    (2, True, "{seller} to {buyer}\nIssued on {dmy}, payable by {dmy2}\nDocument {n}\nGrand total {t} {c}"),
    (2, True, "Due {iso2}: {s}{t} for {goods}\nInvoice {n}, dated {iso}\n{seller}"),
    (2, True, "INVOICE {n}\nIssue date {dmy}\nPayment deadline {dmy2}\nSum {t} {c}"),
    (2, True, "No. {n}\n{seller}, {long}\nTo pay: {s}{tc}\nBefore: {long2}"),
    (2, True, "Our invoice: {n}\nYour name: {buyer}\nOf: {long}\nTo be paid by: {long2}\nAmount: {t} {c}"),
    (2, False, "Receipt {n}\n{seller}\n{iso}\n{goods} {t} {c}\nPaid in cash. Total {t} {c}"),
    (2, False, "RECEIPT\nNumber {n}\nDate {dmy}\n{goods}\nPaid by card: {s}{t}"),
    (2, False, "{seller}\nReceipt no. {n}, {long}\nTotal {s}{t}, paid."),
    (3, True, "Invoice {n}\nDate {iso}\nNet {sub} {c}\nTax {tax} {c}\nTotal {t} {c}\nDue {iso2}"),
    (3, True, "{seller}\nInvoice {n}, {long}\nSubtotal {s}{sub}\nSales tax {s}{tax}\nTotal {s}{t}\nDue by {long2}"),
    (3, True, "Dear {buyer}, for the {goods} delivered on {iso3} we charge {t} {c}. This is invoice {n} of {iso}. Please "
              "pay until {iso2}. {seller}"),
    (3, True, "Hello! Attached is bill {n}. We wrote it on {long}; {s}{tc} should reach us by {long2}. The deposit of "
              "{s}{tax} you paid earlier is already taken off. {seller}"),
    (3, False, "{buyer} has paid {s}{t} to {seller} on {dmy}. Receipt {n}. Nothing is left to pay."),
    (3, False, "Order {order} for {goods}\nInvoice {n}, {iso}\nNet {sub} {c}, tax {tax} {c}\nPaid in full: {t} {c}"),
    (3, True, "Order {order}\nDelivery note of {iso3}\nInvoice {n} of {iso}\nPay {t} {c} by {iso2}"),
    (3, True, "Customer no. {order}\nInvoice no. {n}\nOrdered {long3}, invoiced {long}\nTotal {s}{tc}\nPayable by {long2}"),
    (3, False, "{seller} thanks {buyer}.\nCash receipt {n}\nDate of sale: {long}\nBefore tax {s}{sub}\nYou paid {s}{t}"),
    (3, True, "Reminder! Invoice {n} of {iso} over {t} {c} is still open. It was due on {iso3}; we now expect payment by "
              "{iso2}."),
]

# Written by hand, one of a kind: (level, document, number, date, total, currency, due).
CORE = [
    (1, "Invoice number: A-1\nDate: 2026-01-02\nTotal: 10.00 USD\nDue: 2026-02-01", "A-1", "2026-01-02", "10.00", "USD", "2026-02-01"),
    (1, "Invoice 77\nDate 2025-12-31\nTotal 5000.00 EUR\nDue 2026-01-30", "77", "2025-12-31", "5000.00", "EUR", "2026-01-30"),
    (1, "Number: 2026/004\nDate: 2026-04-04\nTotal: 44.44 GBP\nDue: 2026-05-04", "2026/004", "2026-04-04", "44.44", "GBP", "2026-05-04"),
    (1, "Number: X900\nDate: 2026-09-09\nTotal: 909.90 USD\nDue: 2026-10-09", "X900", "2026-09-09", "909.90", "USD", "2026-10-09"),
    (2, "Piano tuning, two hours. Bill 12, written 3 May 2026, to be paid by 17 May 2026: £90.00", "12", "2026-05-03", "90.00", "GBP", "2026-05-17"),
    (2, "TAXI RECEIPT\nride 5521\n2026-07-19 23:58\nfare 18.60 EUR\npaid, thank you", "5521", "2026-07-19", "18.60", "EUR", None),
    (2, "Vet visit for a cat named Invoice.\nBill number V-31, June 6, 2026\n$120.00, due June 20, 2026", "V-31", "2026-06-06", "120.00", "USD", "2026-06-20"),
    (2, "Museum shop\n2 posters, 1 mug\nreceipt 00871 of 8 August 2026\n€31.50 card", "00871", "2026-08-08", "31.50", "EUR", None),
    (3, "You asked for a copy: invoice K7 was for $300.00, we took off $50.00, so pay $250.00. It is dated 2026-02-20 and due on 2026-03-20.", "K7", "2026-02-20", "250.00", "USD", "2026-03-20"),
    (3, "Rent for March. Number R-03. Sent 2026-02-25. 800.00 GBP rent and 60.00 GBP heating make 860.00 GBP. Latest day: 2026-03-03.", "R-03", "2026-02-25", "860.00", "GBP", "2026-03-03"),
    (3, "Invoice 410 replaces invoice 409. Date: 2026-11-05 (409 was of 2026-11-01). New total 75.25 EUR, old total 57.25 EUR. Due 2026-12-05.", "410", "2026-11-05", "75.25", "EUR", "2026-12-05"),
    (3, "Gym fee, 12 x 20.00 USD = 240.00 USD, paid on the spot on October 1, 2026. Slip 6.", "6", "2026-10-01", "240.00", "USD", None),
]


def money(cents):
    return f"{cents // 100}.{cents % 100:02}"


def money_comma(cents):
    return f"{cents // 100:,}.{cents % 100:02}"


def dates(year, month, day):
    return (f"{year}-{month:02}-{day:02}", f"{MONTHS[month - 1]} {day}, {year}", f"{day} {MONTHS[month - 1]} {year}")


def draw(layout, has_due, random):
    year, month = 2026, 2 + random.below(9)
    iso, long, dmy = dates(year, month, 1 + random.below(28))
    iso2, long2, dmy2 = dates(year, month + 1, 1 + random.below(28))
    iso3, long3, _ = dates(year, month - 1, 1 + random.below(28))
    sub = (5 + random.below(2500)) * 100 + 10 * random.below(10)
    tax = sub // 5
    code, sign = random.pick(CURRENCIES)
    number = random.pick(["{}", "INV-{}", "A{}", "2026-{}", "R{}"]).format(1000 + random.below(9000))
    total = money(sub + tax)
    text = layout.format(n=number, iso=iso, long=long, dmy=dmy, iso2=iso2, long2=long2, dmy2=dmy2, iso3=iso3, long3=long3,
                         t=total, tc=money_comma(sub + tax), sub=money(sub), tax=money(tax), c=code, s=sign,
                         seller=random.pick(SELLERS), buyer=random.pick(BUYERS), goods=random.pick(GOODS),
                         order=10000 + random.below(90000))
    return text[0].upper() + text[1:], fields(number, iso, total, code, iso2 if has_due else None)


def fields(number, date, total, currency, due):
    return dict(number=number, date=date, total=total, currency=currency, due=due)


def items(seed):
    random, out = SplitMix64(seed), []

    def add(template, level, document, gold):
        wrong = dict(gold, total=money(int(gold["total"].replace(".", "")) + 100))
        swapped = dict(gold, due=gold["date"] if gold["due"] is None else None)
        loose = " " + json.dumps(dict(reversed(list(gold.items()))), ensure_ascii=False)
        out.append(dict(id=f"if-{len(out) + 1:03}", template=template, level=level, document=document, gold=gold,
                        good=[json.dumps(gold, ensure_ascii=False), loose],
                        bad=[json.dumps(wrong, ensure_ascii=False), json.dumps(swapped, ensure_ascii=False), "{}", "none"]))

    for place, (level, has_due, layout) in enumerate(LAYOUTS, 1):
        for _ in range(6):
            add(f"layout-{place:02}", level, *draw(layout, has_due, random))
    for place, (level, document, *gold) in enumerate(CORE, 1):
        add(f"core-{place:02}", level, document, fields(*gold))
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
