#!/bin/bash
# Runs in /app; the reward is 1 where every check holds.
mkdir -p /logs/verifier
if [ -z "$(ls *.tmp 2>/dev/null)" ] && [ -f c.txt ]; then
    echo 1 > /logs/verifier/reward.txt
else
    echo 0 > /logs/verifier/reward.txt
fi
