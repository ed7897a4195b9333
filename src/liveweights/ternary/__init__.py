"""Computing with ternary weights: kernels, layers, making them, learning on them."""
