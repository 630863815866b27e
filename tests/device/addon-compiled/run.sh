#!/usr/bin/with-contenv bashio
probe
