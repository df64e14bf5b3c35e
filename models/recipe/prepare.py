#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Collect public-domain narrative English for the story models.

  python3 prepare.py BOOKS OUT

BOOKS is a checkout of a Markdown library of classics (Author/Title.md, each opening with '# Title:',
'## Author:', '## Year:'). Kept: works published before 1929 whose AUTHOR WROTE IN ENGLISH (so that no
translation can be younger than the work), and two old translations of fairy tales (Grimm, Andersen). Writes
OUT/train.txt (works parted by a line '<|end_of_text|>') and OUT/SOURCES.tsv. valid.txt holds chapters of four
works that never enter train.txt.
"""
import os
import re
import sys
import unicodedata

LIMIT = 150_000_000  # characters of train.txt, the parting lines aside

# Authors in order of preference: once LIMIT is near, only works that still fit are taken.
FIRST = """The Brothers Grimm;Hans Christian Andersen;L. Frank Baum;Edith Nesbit;George MacDonald;Howard Pyle;
Lewis Carroll;J. M. Barrie;Rudyard Kipling;Beatrix Potter;Hugh Lofting;Kenneth Grahame;
Frances Hodgson Burnett;Louisa May Alcott;Robert Louis Stevenson;Mark Twain;Oscar Wilde;Abbie Farwell Brown;
Lucy Maud Montgomery;Anna Sewell;Gertrude Chandler Warner;James Stephens;Lord Dunsany;William Morris;
W.B. Yeats;Lafcadio Hearn;Jonathan Swift;Daniel Defoe;Arthur Conan Doyle;H.G. Wells;Jack London;
Washington Irving;Edgar Rice Burroughs;R.M. Ballantyne;H. Rider Haggard;Charles Dickens;G.K. Chesterton;
P.G. Wodehouse;Jane Austen;Jerome K. Jerome;Bram Stoker;Nathaniel Hawthorne;Charlotte Bronte;Emily Bronte;
Anne Bronte;John Buchan;Rafael Sabatini;Thomas Bulfinch;Emma Orczy;Anthony Hope;Wilkie Collins"""
REST = """Abraham Merritt;Agatha Christie;Algernon Blackwood;Ambrose Bierce;Ann Radcliffe;
Anna Katharine Green;Anthony Trollope;Aphra Behn;Apsley Cherry-Garrard;Arthur Machen;B.M. Bower;
Booth Tarkington;C.J. Cutliffe Hyne;Charles Brockden Brown;Charles W. Chesnutt;Christopher Morley;
Charlotte Perkins Gilman;D.H. Lawrence;David Lindsay;E.F. Benson;E.M. Forster;Edgar Allan Poe;
Edgar Wallace;Edith Maude Hull;Edith Wharton;Edward Bellamy;Edward Bulwer-Lytton;Edward Everett Hale;
Elizabeth Gaskell;Ellen Glasgow;Erskine Childers;Ernest Shackleton;F. Marion Crawford;F. Scott Fitzgerald;
Fitz James O'Brien;Ford Madox Ford;Frank Norris;Frederick Douglass;Freeman Wills Crofts;George Eliot;
Georgette Heyer;Gertrude Atherton;Grace Livingston Hill;Grace Miller White;Harriet Beecher Stowe;
Helen Hunt Jackson;Henry Fielding;Henry James;Henry van Dyke;Henry De Vere Stacpoole;Herman Melville;
Horace Walpole;Horatio Alger;James Branch Cabell;James De Mille;James Fenimore Cooper;J. Meade Falkner;
J. Sheridan LeFanu;J.S. Fletcher;John Bunyan;John Kendrick Bangs;Johnston McCulley;Joseph Conrad;
Kate Chopin;Lew Wallace;M.R. James;Marie Belloc Lowndes;Mary E. Wilkins Freeman;Mary Elizabeth Braddon;
Mary Johnston;Matthew Lewis;Mary Wollstonecraft Shelley;Max Brand;May Sinclair;Mayne Reid;Olive Schreiner;
Owen Wister;R.D. Blackmore;Richard Connell;Richard Harding Davis;Richard Jefferies;Richard Marsh;
Robert Hugh Benson;Robert W. Chambers;Sabine Baring-Gould;Samuel Butler;Samuel Hopkins Adams;
Sarah Orne Jewett;Sax Rohmer;Sherwood Anderson;Sinclair Lewis;Solomon Northup;Stephen Crane;Talbot Mundy;
Theodore Dreiser;Thomas Hardy;Upton Sinclair;Vernon Lee;Virginia Woolf;W. W. Jacobs;W.H. Hudson;
Walter Scott;Willa Cather;William Hope Hodgson;William John Locke;William Makepeace Thackeray;Zane Grey;
H.P. Lovecraft;William Beckford;Roy Chapman Andrews"""

# Held out of the training text, by the beginning of the title.
VALID = (
    "The Wind in the Willows",
    "The Happy Prince",
    "Five Children and It",
    "The Hound of the Baskervilles",
)

# Typographic characters -> plain ones, applied in this order.
PLAIN = (
    ("‘", "'"), ("’", "'"), ("“", '"'), ("”", '"'), ("\u00a0", " "), ("\u200b", ""), ("…", "..."),
    ("–", "-"), ("—", "--"), ("\ufffd", ""), ("\ufeff", ""),
)


def names(s):
    """The names in a ';'-separated list that may run over several lines."""
    return [a.strip() for a in s.replace("\n", "").split(";")]


order = names(FIRST) + names(REST)


def clean(s):
    """The plain text of a Markdown file: no front matter, headings' marks, quotes' marks, links or tags."""
    b = unicodedata.normalize("NFC", s.split("-------", 1)[-1]).replace("\r", "")
    for x, z in PLAIN:
        b = b.replace(x, z)
    b = re.sub(r"^\s*#+\s*", "", b, flags=re.M)
    b = re.sub(r"^\s*>\s?", "", b, flags=re.M)
    b = re.sub(r"!?\[[^\]]*\]\([^)]*\)", "", b)
    b = re.sub(r"[*_\\`|]", "", b)
    b = re.sub(r"<[^>]{1,60}>", "", b)
    b = re.sub(r"[ \t]+", " ", b)
    b = re.sub(r" ?\n ?", "\n", b)
    return re.sub(r"\n\s*\n+", "\n\n", b).strip()


def read_books(root):
    """The works that we may and want to use: (author's rank, author, title, year, text), unsorted."""
    books = []
    for d, _, fs in os.walk(root):
        who = os.path.basename(d)
        if who not in order:
            continue
        for f in sorted(fs):
            if not f.endswith(".md"):
                continue
            with open(os.path.join(d, f), encoding="utf-8", errors="replace") as file:
                s = file.read()
            head = s[:1500]
            y = re.search(r"Year:\s*(-?\d{1,4})", head)
            a = re.search(r"Author:\s*(.+)", head)
            t = re.search(r"Title:\s*(.+)", head)
            # 'ranslat': the head names a translator, whose work may be younger than the book
            if not (y and a and t) or int(y[1]) > 1928 or "ranslat" in head:
                continue
            b = clean(s)
            if len(b) >= 2000:
                books.append((order.index(who), a[1].strip(), t[1].strip(), int(y[1]), b))
    return books


def choose(books):
    """Take works in order of preference up to LIMIT: (training texts, rows of SOURCES.tsv, characters)."""
    books.sort(key=lambda b: b[:4])
    train, src, n = [], [], 0
    for _, a, t, y, b in books:
        held = t.startswith(VALID)
        if not held and n + len(b) > LIMIT:
            continue
        src.append((a, t, y, "valid" if held else "train"))
        if not held:
            train.append(b)
            n += len(b)
    return train, src, n


def main(root, out):
    """Read BOOKS, write OUT/train.txt and OUT/SOURCES.tsv."""
    train, src, n = choose(read_books(root))
    os.makedirs(out, exist_ok=True)
    with open(f"{out}/train.txt", "w") as file:
        file.write("\n<|end_of_text|>\n".join(train))
    with open(f"{out}/SOURCES.tsv", "w") as file:
        file.write("author\ttitle\tyear\tsplit\n" + "".join("\t".join(map(str, s)) + "\n" for s in src))
    print(len(train), "works,", n / 1e6, "MB;", sum(s[3] == "valid" for s in src), "held out")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
