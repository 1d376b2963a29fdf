package main

import "os"

func init() {
	for _, l := range layers {
		for i, f := range l.files {
			if _, err := os.Stat(root + "/" + f.pkg); err != nil {
				l.files[i].pkg = "./layer/mklayer"
			}
		}
	}
}
