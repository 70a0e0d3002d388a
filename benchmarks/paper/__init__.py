"""The paper's problem: its CNN on FashionMNIST, its five runs, and its open questions."""
