"""Tests of genes, fitness and generations: who may be whose parent."""
