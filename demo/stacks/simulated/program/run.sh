#!/bin/sh
# A simulated vehicle never runs this; a real one may, and then it only waits.
exec sleep 1000000
