#!/usr/bin/env python3
"""Writes the items and databases of `sql_reports`: questions about small tables, to be answered by one SQLite query.

  generate.py                     items.jsonl and databases.jsonl beside this file, as committed (seed 20261121)
  generate.py --seed 7 --out F    a fresh suite; its databases go to databases.jsonl beside F

44 question templates are drawn up to six times each with random values; 16 hand-written questions are added. An answer is right
if its rows are those of the gold query on every one of three random databases. The generator checks that the databases
tell the gold query from its mutants (a condition dropped or turned, another aggregate or column, DISTINCT lost, another
order or limit) and that its rows do not depend on the order in which the tables were filled (ties): a draw that fails is
drawn again. A question that may be read in two ways has a gold query for each. Level 1 reads whole columns or their
lowest, highest, average or number; level 2 filters by one condition; level 3 aggregates, groups, orders and limits;
level 4 joins, uses HAVING, DISTINCT, dates or subqueries. Python standard library only
(sqlite3 for the check); SplitMix64, so that the bytes do not depend on the Python version.
"""
import argparse
import json
import os
import re
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
sys.dont_write_bytecode = True
from splitmix64 import SplitMix64  # noqa: E402

TABLES = {
    "shop": "orders(id, customer, city, product, quantity, price, day)",
    "staff": "staff(id, name, team, city, salary, since)",
    "web": "visits(id, page, country, device, seconds, day)",
    "store": "products(name, category, price, stock); sales(id, product, quantity, day)",
}
VALUES = {
    "customer": ["Ana", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana"],
    "city": ["Oslo", "Lima", "Cairo", "Perth", "Quito", "Turin", "Dakar"],
    "product": ["lamp", "chair", "desk", "clock", "shelf", "rug", "mirror", "stool"],
    "name": ["Abe", "Bea", "Cal", "Dee", "Eli", "Fay", "Gil", "Hal", "Iris", "Jon", "Kim", "Leo", "Mia", "Ned", "Ola", "Pia",
             "Quin", "Raj", "Sue", "Tom", "Una", "Val", "Wes", "Xia", "Yve", "Zoe", "Amy", "Bob", "Cid", "Dot"],
    "team": ["sales", "support", "design", "finance", "legal", "research"],
    "page": ["home", "pricing", "docs", "blog", "contact", "team", "jobs"],
    "country": ["Chile", "Kenya", "Japan", "Spain", "Nepal", "Malta", "Ghana"],
    "device": ["phone", "laptop", "tablet", "watch", "console", "television"],
    "category": ["furniture", "lighting", "decor", "office", "garden", "kitchen"],
}
COLUMNS = {
    "oc": ["customer", "city", "product", "quantity", "price", "day"],
    "sc": ["name", "team", "city", "salary", "since"],
    "vc": ["page", "country", "device", "seconds", "day"],
    "pc": ["name", "category", "price", "stock"],
}
MONTHS = ["January", "February", "March", "April", "May", "June"]

# (level, database, question, query). Slots: a column's value, {q} small number, {p} price, {s} salary, {t} seconds,
# {k} limit, {y} year, {month}/{mm} a month of 2026,
# {oc} {sc} {vc} {pc} a column of orders, staff, visits, products, {oc2} … another one.
TEMPLATES = [
    (1, "shop", "List the {oc} of every order.", "SELECT {oc} FROM orders"),
    (1, "staff", "List the {sc} of every person.", "SELECT {sc} FROM staff"),
    (1, "web", "List the {vc} of every visit.", "SELECT {vc} FROM visits"),
    (1, "store", "List the {pc} of every product.", "SELECT {pc} FROM products"),
    (1, "shop", "Show {oc} and {oc2} of every order.", "SELECT {oc}, {oc2} FROM orders"),
    (1, "staff", "Show {sc} and {sc2} of every person.", "SELECT {sc}, {sc2} FROM staff"),
    (1, "web", "Show {vc} and {vc2} of every visit.", "SELECT {vc}, {vc2} FROM visits"),
    (1, "shop", "What is the {least} {number} of all orders?", "SELECT {MIN}({number}) FROM orders"),
    (1, "staff", "What is the {least} salary of all people?", "SELECT {MIN}(salary) FROM staff"),
    (1, "store", "What is the {least} {worth} of all products?", "SELECT {MIN}({worth}) FROM products"),
    (2, "shop", "How many orders have a quantity of {q}?", "SELECT COUNT(*) FROM orders WHERE quantity = {q}"),
    (2, "shop", "How many orders came from {city}?", "SELECT COUNT(*) FROM orders WHERE city = '{city}'"),
    (2, "shop", "List the products {customer} ordered.", ["SELECT product FROM orders WHERE customer = '{customer}'",
      "SELECT DISTINCT product FROM orders WHERE customer = '{customer}'"]),
    (2, "shop", "Which customers ordered a {product}?", ["SELECT customer FROM orders WHERE product = '{product}'",
      "SELECT DISTINCT customer FROM orders WHERE product = '{product}'"]),
    (2, "shop", "Show id and price of orders with a price above {p}.", "SELECT id, price FROM orders WHERE price > {p}"),
    (2, "staff", "List the names of everyone in the {team} team.", "SELECT name FROM staff WHERE team = '{team}'"),
    (2, "staff", "How many people work in {city}?", "SELECT COUNT(*) FROM staff WHERE city = '{city}'"),
    (2, "staff", "Show name and salary of everyone in {city}.", "SELECT name, salary FROM staff WHERE city = '{city}'"),
    (2, "staff", "Who earns less than {s}?", "SELECT name FROM staff WHERE salary < {s}"),
    (2, "web", "How many visits came from {country}?", "SELECT COUNT(*) FROM visits WHERE country = '{country}'"),
    (2, "web", "Which pages were visited on a {device}?", ["SELECT page FROM visits WHERE device = '{device}'",
      "SELECT DISTINCT page FROM visits WHERE device = '{device}'"]),
    (2, "web", "Show the ids of visits longer than {t} seconds.", "SELECT id FROM visits WHERE seconds > {t}"),
    (3, "shop", "What is the average price of orders from {city}?", "SELECT AVG(price) FROM orders WHERE city = '{city}'"),
    (3, "shop", "How many pieces of {product} were ordered in total?",
     "SELECT SUM(quantity) FROM orders WHERE product = '{product}'"),
    (3, "shop", "Show each customer in {city} with the number of orders.",
     "SELECT customer, COUNT(*) FROM orders WHERE city = '{city}' GROUP BY customer"),
    (3, "shop", "Show the ids of the {k} most expensive orders by price, highest first.",
     "SELECT id FROM orders ORDER BY price DESC LIMIT {k}"),
    (3, "shop", "Which orders (id) of {customer} have a quantity of at least {q}?",
     "SELECT id FROM orders WHERE customer = '{customer}' AND quantity >= {q}"),
    (3, "staff", "What is the highest salary in the {team} team?", "SELECT MAX(salary) FROM staff WHERE team = '{team}'"),
    (3, "staff", "Show each team in {city} with its average salary.",
     "SELECT team, AVG(salary) FROM staff WHERE city = '{city}' GROUP BY team"),
    (3, "staff", "List names in the {team} team from lowest to highest salary.",
     "SELECT name FROM staff WHERE team = '{team}' ORDER BY salary"),
    (3, "staff", "How many people of the {team} team work in {city}?",
     "SELECT COUNT(*) FROM staff WHERE team = '{team}' AND city = '{city}'"),
    (3, "web", "How many seconds did visitors from {country} spend in total?",
     "SELECT SUM(seconds) FROM visits WHERE country = '{country}'"),
    (3, "web", "Show each page with its number of visits from {country}.",
     "SELECT page, COUNT(*) FROM visits WHERE country = '{country}' GROUP BY page"),
    (3, "web", "What was the longest visit of the {page} page, in seconds?",
     "SELECT MAX(seconds) FROM visits WHERE page = '{page}'"),
    (4, "shop", "Which customers made more than {k} orders?",
     "SELECT customer FROM orders GROUP BY customer HAVING COUNT(*) > {k}"),
    (4, "shop", "How many different products did {customer} order?",
     "SELECT COUNT(DISTINCT product) FROM orders WHERE customer = '{customer}'"),
    (4, "shop", "Name each city with orders in {month} 2026 once.",
     "SELECT DISTINCT city FROM orders WHERE day LIKE '2026-{mm}-%'"),
    (4, "staff", "Who earns more than the average of the {team} team?",
     "SELECT name FROM staff WHERE salary > (SELECT AVG(salary) FROM staff WHERE team = '{team}')"),
    (4, "staff", "Who joined in {y} or later and does not work in {city}?",
     "SELECT name FROM staff WHERE since >= {y} AND city <> '{city}'"),
    (4, "staff", "Name the team with the highest average salary of people who joined in {y} or later.",
     "SELECT team FROM staff WHERE since >= {y} GROUP BY team ORDER BY AVG(salary) DESC LIMIT 1"),
    (4, "web", "From how many different countries was the {page} page visited?",
     "SELECT COUNT(DISTINCT country) FROM visits WHERE page = '{page}'"),
    (4, "web", "Show each device with its average visit in seconds, only for visits in {month} 2026.",
     "SELECT device, AVG(seconds) FROM visits WHERE day LIKE '2026-{mm}-%' GROUP BY device"),
    (4, "store", "How many pieces of {category} products were sold?",
     "SELECT SUM(sales.quantity) FROM sales JOIN products ON sales.product = products.name "
     "WHERE products.category = '{category}'"),
    (4, "store", "Which products were not sold in {month} 2026?",
     "SELECT name FROM products WHERE name NOT IN (SELECT product FROM sales WHERE day LIKE '2026-{mm}-%')"),
]

# Written by hand, one of a kind.
CORE = [
    (1, "shop", "How many orders are there?", "SELECT COUNT(*) FROM orders"),
    (1, "staff", "How many people are there?", "SELECT COUNT(*) FROM staff"),
    (1, "web", "How many visits are there?", "SELECT COUNT(*) FROM visits"),
    (1, "store", "How many products are there?", "SELECT COUNT(*) FROM products"),
    (2, "shop", "Show everything we know about order 7.", "SELECT * FROM orders WHERE id = 7"),
    (2, "staff", "What does Kim earn?", "SELECT salary FROM staff WHERE name = 'Kim'"),
    (2, "web", "List all visits of the docs page by id.", "SELECT id FROM visits WHERE page = 'docs'"),
    (2, "store", "Which products are out of stock?", "SELECT name FROM products WHERE stock = 0"),
    (3, "shop", "What is our turnover, counting quantity times price over all orders?",
     "SELECT SUM(quantity * price) FROM orders"),
    (3, "staff", "Who earns the least? Give the name.", "SELECT name FROM staff ORDER BY salary LIMIT 1"),
    (3, "web", "What share of visits lasted under 30 seconds, as a number from 0 to 1?",
     "SELECT AVG(seconds < 30) FROM visits"),
    (3, "store", "What is the cheapest product of each category worth? Show category and price.",
     "SELECT category, MIN(price) FROM products GROUP BY category"),
    (4, "shop", "Which cities have customers who ordered both a lamp and a desk? Name each once.",
     "SELECT DISTINCT city FROM orders WHERE customer IN (SELECT customer FROM orders WHERE product = 'lamp') "
     "AND customer IN (SELECT customer FROM orders WHERE product = 'desk')"),
    (4, "staff", "Name everyone who earns the most in their own team.",
     "SELECT name FROM staff s WHERE salary = (SELECT MAX(salary) FROM staff t WHERE t.team = s.team)"),
    (4, "web", "Which page has the most visits from phones?",
     "SELECT page FROM visits WHERE device = 'phone' GROUP BY page ORDER BY COUNT(*) DESC LIMIT 1"),
    (4, "store", "How much money did each category bring in? Show category and sum of quantity times price.",
     "SELECT p.category, SUM(s.quantity * p.price) FROM sales s JOIN products p ON s.product = p.name "
     "GROUP BY p.category"),
]


def database(name, random):
    """A script that makes one instance. Numbers that are ordered by are all different, so that no order is by chance."""
    def day():
        return f"2026-{1 + random.below(6):02}-{1 + random.below(28):02}"

    def different(n, low, step):
        values, pool = [], list(range(n * 3))
        for _ in range(n):
            values.append(low + step * pool.pop(random.below(len(pool))))
        return values

    v, rows = VALUES, []
    if name == "shop":
        ddl = "CREATE TABLE orders(id INTEGER, customer TEXT, city TEXT, product TEXT, quantity INTEGER, price INTEGER, day TEXT);"
        for i, price in enumerate(different(70, 10, 5), 1):
            rows.append(("orders", (i, random.pick(v["customer"]), random.pick(v["city"]), random.pick(v["product"]),
                                    1 + random.below(9), price, day())))
    elif name == "staff":
        ddl = "CREATE TABLE staff(id INTEGER, name TEXT, team TEXT, city TEXT, salary INTEGER, since INTEGER);"
        years = [1996 + random.below(26) for _ in range(30)]
        for i, salary in enumerate(different(30, 2000, 50), 1):
            rows.append(("staff", (i, v["name"][i - 1], random.pick(v["team"]),
                                   random.pick(v["city"]), salary, years[i - 1])))
    elif name == "web":
        ddl = "CREATE TABLE visits(id INTEGER, page TEXT, country TEXT, device TEXT, seconds INTEGER, day TEXT);"
        for i, seconds in enumerate(different(70, 5, 4), 1):
            rows.append(("visits", (i, random.pick(v["page"]), random.pick(v["country"]), random.pick(v["device"]), seconds, day())))
    else:
        ddl = ("CREATE TABLE products(name TEXT, category TEXT, price INTEGER, stock INTEGER);"
               "CREATE TABLE sales(id INTEGER, product TEXT, quantity INTEGER, day TEXT);")
        sold = [p for p in v["product"] if random.below(4)] or v["product"][:3]
        prices = different(len(v["product"]), 15, 10)
        for p, price in zip(v["product"], prices):
            rows.append(("products", (p, random.pick(v["category"]), price, random.below(4) * 5)))
        for i in range(1, 41):
            rows.append(("sales", (i, random.pick(sold), 1 + random.below(6), day())))
    inserts = ["INSERT INTO {} VALUES({});".format(t, ",".join(repr(x) for x in row)) for t, row in rows]
    return ddl + "".join(inserts), ddl + "".join(reversed(inserts))


def opened(script):
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    return connection


def queries(sql):
    return sql if isinstance(sql, list) else [sql]


def mutants(sql):
    """Queries that are wrong in one thing."""
    swaps = [(" WHERE .*?(?= GROUP| ORDER|$)", ""), (r" AND .*?(?= GROUP| ORDER|$)", ""), ("SUM", "AVG"), ("AVG", "SUM"),
             ("MAX", "MIN"), ("MIN", "MAX"), ("DISTINCT ", ""), (" DESC", ""), (" > ", " <= "), (" < ", " >= "),
             (" >= ", " < "), (" = ", " <> "), (" <> ", " = "), ("NOT IN", "IN"), (r"LIMIT \d+", "LIMIT 11"),
             (r"COUNT\(\*\) FROM", "COUNT(DISTINCT id) + 1 FROM"), (" HAVING .*", ""), (r"ORDER BY (\w+)", r"ORDER BY -\1"),
             (" GROUP BY .*", ""), ("LIKE '2026", "LIKE '2025")]
    out = {re.sub(a, b, sql, count=1) for a, b in swaps}
    return sorted(out - {sql})


def rows(connection, sql):
    try:
        result = connection.execute(sql).fetchall()
    except sqlite3.Error:
        return None
    return result if "ORDER BY" in sql else sorted(result, key=repr)


def separated(instances, readings):
    """Whether the gold queries have rows somewhere, hold for any order of filling, and no mutant agrees everywhere.

    `instances` are pairs of connections with the same rows filled in two orders; `readings` are the gold queries.
    """
    golds = [[rows(c, sql) for c, _ in instances] for sql in readings]
    if not all(any(gold) for gold in golds):
        return False
    if any([rows(c, sql) for _, c in instances] != gold for sql, gold in zip(readings, golds)):
        return False
    wrong = {m for sql in readings for m in mutants(sql)} - set(readings) | {"SELECT 1"}
    return all([rows(c, m) for c, _ in instances] not in golds for m in wrong)


def items(seed):
    random, out, seen = SplitMix64(seed), [], set()
    databases, instances = {}, {}
    for name in TABLES:
        readings = [queries(sql) for _, db, _, sql in CORE if db == name]
        while True:
            scripts = [database(name, random) for _ in range(3)]
            instances[name] = [(opened(script), opened(reverse)) for script, reverse in scripts]
            if all(separated(instances[name], sql) for sql in readings):
                break
        databases[name] = [script for script, _ in scripts]

    def add(template, level, db, question, sql):
        first = instances[db][0][0]
        wrong = [m for m in mutants(sql[0]) if m not in sql and rows(first, m) is not None]
        seen.add(question)
        out.append(dict(id=f"sq-{len(out) + 1:03}", template=template, level=level, db=db, tables=TABLES[db],
                        question=question, sql=sql, good=[q + ";" for q in sql] + [f"  SELECT * FROM ({sql[0]})"],
                        bad=wrong + ["", "SELECT 1", f"DROP TABLE {TABLES[db].split('(')[0]}"]))

    def draw(question, sql, db):
        for _ in range(2000):
            values = {name: random.pick(v) for name, v in VALUES.items()}
            for key, columns in COLUMNS.items():
                values[key] = random.pick(columns)
                values[key + "2"] = random.pick([c for c in columns if c != values[key]])
            values["least"], values["MIN"] = random.pick([("lowest", "MIN"), ("highest", "MAX"), ("average", "AVG")])
            values.update(number=random.pick(["quantity", "price"]), worth=random.pick(["price", "stock"]))
            month = random.below(6)
            values.update(q=2 + random.below(6), p=40 * (4 + random.below(20)), s=2500 + 250 * random.below(16),
                          t=40 + 40 * random.below(20), k=2 + random.below(8), y=2000 + random.below(20),
                          month=MONTHS[month], mm=f"{month + 1:02}")
            drawn, readings = question.format(**values), [q.format(**values) for q in queries(sql)]
            if drawn not in seen and separated(instances[db], readings):
                return drawn, readings
        return None

    for place, (level, db, question, sql) in enumerate(TEMPLATES, 1):
        for _ in range(6):
            drawn = draw(question, sql, db)
            # Few values of a slot may be left; the suite is then an item shorter.
            if drawn:
                add(f"query-{place:02}", level, db, *drawn)
    for place, (level, db, question, sql) in enumerate(CORE, 1):
        add(f"core-{place:02}", level, db, question, queries(sql))
    return out, [dict(name=name, instances=scripts) for name, scripts in databases.items()]


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--out", default=os.path.join(here, "items.jsonl"))
    options = parser.parse_args()
    all_items, databases = items(options.seed)
    folder = os.path.dirname(os.path.abspath(options.out))
    for path, lines in ((options.out, all_items), (os.path.join(folder, "databases.jsonl"), databases)):
        with open(path, "w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
