"""OpenVINO in this process: for CPUs."""
