#!/bin/sh
echo "$MACHINE $ARCH" $(cat sensors.txt)
