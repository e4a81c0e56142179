"""Writes airports.csv: the airports of the world that have an IATA code, with their place on the unit sphere.

    pip install airportsdata==20260905
    python make_airports.py

Degrees of longitude shrink towards the poles and jump at the date line, so distances between (latitude, longitude) pairs mislead.
The columns x, y, z are the same place as a vector of length 1 from the centre of the earth: the angle between two such
vectors is the great-circle distance.
"""

import csv
from math import cos, radians, sin
from pathlib import Path

import airportsdata

with open(Path(__file__).with_name("airports.csv"), "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["iata", "country", "latitude", "longitude", "x", "y", "z"])
    for iata, airport in sorted(airportsdata.load("IATA").items()):
        latitude, longitude = round(airport["lat"], 4), round(airport["lon"], 4)
        north, east = radians(latitude), radians(longitude)
        place = [cos(north) * cos(east), cos(north) * sin(east), sin(north)]
        writer.writerow([iata, airport["country"], latitude, longitude, *(f"{value:.5f}" for value in place)])
