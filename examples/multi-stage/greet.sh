#!/bin/sh
echo "hello $1, made on $(cat /etc/built)"
