#!/bin/bash
# Runs in /app; the reward is 1 where every check holds.
mkdir -p /logs/verifier
if [ -d reports ]; then
    echo 1 > /logs/verifier/reward.txt
else
    echo 0 > /logs/verifier/reward.txt
fi
