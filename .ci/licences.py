"""Checks that every dependency has one of the licences of deny.toml. Stands in for cargo-deny where that is not installed."""

import json
import re
import subprocess
import sys

try:
    import tomllib

    with open("deny.toml", "rb") as f:
        ALLOWED = set(tomllib.load(f)["licenses"]["allow"])
except ModuleNotFoundError:  # Python before 3.11
    with open("deny.toml") as f:
        ALLOWED = set(re.findall(r'"([^"]+)"', re.search(r"allow = \[(.*?)\]", f.read(), re.S)[1]))


def allowed(expression):
    """`A OR B` needs one, `A AND B` and `A WITH E` need all; parentheses group."""
    expression = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|[^\s()]+", expression)

    def either(i):
        value, i = both(i)
        while i < len(tokens) and tokens[i] == "OR":
            other, i = both(i + 1)
            value = value or other
        return value, i

    def both(i):
        value, i = one(i)
        while i < len(tokens) and tokens[i] == "AND":
            other, i = one(i + 1)
            value = value and other
        return value, i

    def one(i):
        if tokens[i] == "(":
            value, i = either(i + 1)
            return value, i + 1
        name = tokens[i]
        if i + 2 < len(tokens) and tokens[i + 1] == "WITH":
            return f"{name} WITH {tokens[i + 2]}" in ALLOWED or name in ALLOWED, i + 3
        return name in ALLOWED, i + 1

    return either(0)[0]


metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--locked"]))
bad = [
    f"{p['name']} {p['version']}: {p['license'] or 'no licence'}"
    for p in metadata["packages"]
    if not p["license"] or not allowed(p["license"])
]
print("\n".join(bad) or f"{len(metadata['packages'])} packages, all licences allowed")
sys.exit(bool(bad))
