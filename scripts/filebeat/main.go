// A real Filebeat for scripts/servers: its own packages, with the one input that the lab's
// elk/filebeat.yml uses, and without the licence that Elastic's distribution asks of a server.
package main

import (
	"flag"
	"os"

	"github.com/elastic/beats/v7/filebeat/beater"
	"github.com/elastic/beats/v7/filebeat/cmd"
	"github.com/elastic/beats/v7/filebeat/input/filestream"
	v2 "github.com/elastic/beats/v7/filebeat/input/v2"
	"github.com/elastic/beats/v7/libbeat/beat"
	"github.com/elastic/beats/v7/libbeat/cfgfile"
	"github.com/elastic/beats/v7/libbeat/cmd/instance"
	"github.com/elastic/beats/v7/libbeat/logp"
)

func main() {
	settings := cmd.FilebeatSettings()
	settings.IndexPrefix = settings.Name
	if err := cfgfile.ChangeDefaultCfgfileFlag(settings.Name); err != nil {
		panic(err)
	}
	flag.Parse()
	inputs := func(_ beat.Info, log *logp.Logger, store beater.StateStore) []v2.Plugin {
		return []v2.Plugin{filestream.Plugin(log, store)}
	}
	if err := instance.Run(settings, beater.New(inputs)); err != nil {
		os.Exit(1)
	}
}
