"""How a network learns: features, epochs, temperature."""
