"""The paper's problem: its CNN on FashionMNIST, its five runs, and what it leaves open."""
