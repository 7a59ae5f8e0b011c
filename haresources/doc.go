// Package haresources knows what stands in the file haresources and in which order it is started and stopped.
//
// Parse reads the file into a Table: groups of resources, each with the node that prefers to run it. A Manager starts the
// resources of a group from left to right and stops them from right to left. It touches the host only through the Agent
// that an Opener makes for each resource, so that everything in here can be tested without one.
package haresources
