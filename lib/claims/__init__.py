"""The paper's claims: what it prints, what was measured here, whether that holds; and where it contradicts itself."""
